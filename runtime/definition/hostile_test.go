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
	repeat := func(text string) string { return strings.Repeat(text, maxText/len(text)) }
	count := func(format string) string {
		var text strings.Builder
		for i := 0; text.Len() < maxText-100; i++ {
			fmt.Fprintf(&text, format, i)
		}
		return text.String()
	}
	for name, text := range map[string]string{
		"sections":     repeat("%post\n\n"),
		"apps":         count("%%apprun a%d\n"),
		"unknown":      repeat("%x\n"),
		"stages":       count("bootstrap: scratch\nstage: %d\n"),
		"continued":    "include: " + repeat("\\\na")[:maxText-20],
		"keys":         count("otherurl%d: x\n"),
		"bad keys":     repeat("a: b\n"),
		"arguments":    "%arguments\n" + count("a%d=1\n") + "%post\n",
		"references":   "%post\n" + repeat("{{ a }}\n")[:maxText-20],
		"undefined":    "%post\n" + repeat("{{ b }}\n")[:maxText-20],
		"one line":     "%post\n" + repeat("{{ a }} ")[:maxText-20],
		"open braces":  "%post\n" + repeat("{{")[:maxText-20],
		"percent line": repeat("%"),
		"words":        "%files\n" + repeat("a ")[:maxText-20],
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("x.def", []byte(text), map[string]string{"a": "x"})
			if err != nil && len(err.Error()) > 10_000 {
				t.Errorf("Parse() = an error of %d bytes", len(err.Error()))
			}
			// Whatever is done for each pair of lines takes hours.
			if took := time.Since(start); took > time.Minute {
				t.Errorf("Parse() took %v", took)
			}
			t.Log(time.Since(start))
		})
	}
}
