package definition

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHostileFilesCostLittle has one file for each thing that could be done again
// and again for each line.
func TestHostileFilesCostLittle(t *testing.T) {
	const size = maxText / 8
	repeat := func(text string) string { return strings.Repeat(text, size/len(text)) }
	count := func(format string) string {
		var text strings.Builder
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, format, i)
		}
		return text.String()
	}
	for name, text := range map[string]string{
		"sections":     repeat("%post\n\n"),
		"apps":         count("%%apprun a%d\n"),
		"unknown":      repeat("%x\n"),
		"stages":       count("bootstrap: scratch\nstage: %d\n"),
		"continued":    "include: " + repeat("\\\na"),
		"keys":         count("otherurl%d: x\n"),
		"bad keys":     repeat("a: b\n"),
		"arguments":    "%arguments\n" + count("a%d=1\n") + "%post\n",
		"references":   "%post\n" + repeat("{{ a }}\n"),
		"undefined":    "%post\n" + repeat("{{ b }}\n"),
		"one line":     "%post\n" + repeat("{{ a }} "),
		"open braces":  "%post\n" + repeat("{{"),
		"percent line": repeat("%"),
		"words":        "%files\n" + repeat("a "),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("x.def", []byte(text), map[string]string{"a": "x"})
			if err != nil && len(err.Error()) > 10_000 {
				t.Errorf("Parse() = an error of %d bytes", len(err.Error()))
			}
			// What is done for each pair of lines takes many minutes.
			if took := time.Since(start); took > time.Minute {
				t.Errorf("Parse() took %v", took)
			}
		})
	}
}
