package sif

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of error a file can cause. Errors of the operating system come
// through as they are.
var (
	// ErrNotSIF says that the file is something else.
	ErrNotSIF = errors.New("not a SIF file")
	// ErrCorrupt says that the file is a SIF and contradicts itself.
	ErrCorrupt = errors.New("corrupt SIF file")
	// ErrUnsupported says that the file is a SIF that can't be run here.
	ErrUnsupported = errors.New("unsupported SIF file")
	// ErrArch says that the image is for another architecture.
	ErrArch = errors.New("foreign architecture")
)

// FormatError says which part of a file is wrong and how.
type FormatError struct {
	// Kind is one of the errors above.
	Kind error
	// Part is "header", "descriptor 3", "OCI layer 0" and the like; empty for
	// the whole file.
	Part string
	// Reason names the field and its value.
	Reason string
}

func (e *FormatError) Error() string {
	if e.Part == "" {
		return "sif: " + e.Reason
	}
	return "sif: " + e.Part + ": " + e.Reason
}

// Unwrap is the kind.
func (e *FormatError) Unwrap() error { return e.Kind }

func corrupt(part, format string, args ...any) error {
	return &FormatError{Kind: ErrCorrupt, Part: part, Reason: fmt.Sprintf(format, args...)}
}

func unsupported(part, format string, args ...any) error {
	return &FormatError{Kind: ErrUnsupported, Part: part, Reason: fmt.Sprintf(format, args...)}
}

// cString is the text up to the first NUL, safe to show on a terminal.
func cString(raw []byte) string {
	text, _, _ := strings.Cut(string(raw), "\x00")
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case hidden(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		text = text[n:]
	}
	return b.String()
}

func hidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
