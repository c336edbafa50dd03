package main

import (
	"errors"
	"strings"
	"testing"
)

func TestReportsHoldNothingThatATerminalObeys(t *testing.T) {
	stranger := "answered 404 \x1b[2J\a\b\r\x9b\u009b31m\u202eback\u200b, grün\n\tnext"
	want := "answered 404  [2J   � 31m back , grün\n\tnext"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"any":     {errors.New(stranger), "FATAL:   " + want + "\n"},
		"message": {messageError{text: stranger, code: 3}, want + "\n"},
		"usage":   {usageError{text: stranger}, "Error for command \"pull\": " + want + "\n\nUsage: see siflet pull --help\n"},
	} {
		var b strings.Builder
		report(&b, "siflet pull", test.err)
		if b.String() != test.want {
			t.Errorf("%s: report() wrote %q, want %q", name, b.String(), test.want)
		}
	}
}

func TestPrintableIsOneLine(t *testing.T) {
	if got, want := printable(" one\ntwo\tthree\x1b[2J\n"), "one; two three [2J"; got != want {
		t.Errorf("printable() = %q, want %q", got, want)
	}
}
