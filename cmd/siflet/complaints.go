package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode"
)

// complaints shows a person what the engine logs, one line each, as the command
// line's own warnings are:
//
//	WARNING: MESSAGE (KEY VALUE, KEY VALUE): ERROR
type complaints struct {
	w     io.Writer
	attrs []slog.Attr
}

// Enabled leaves out what a person needn't know.
func (c complaints) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle writes a line.
func (c complaints) Handle(_ context.Context, r slog.Record) error {
	var facts []string
	cause := ""
	add := func(a slog.Attr) bool {
		value := printable(fmt.Sprint(a.Value.Resolve().Any()))
		switch a.Key {
		case "":
		case "error":
			cause = ": " + value
		default:
			facts = append(facts, a.Key+" "+value)
		}
		return true
	}
	for _, a := range c.attrs {
		add(a)
	}
	r.Attrs(add)
	text := printable(r.Message)
	if len(facts) > 0 {
		text += " (" + strings.Join(facts, ", ") + ")"
	}
	label := "WARNING: "
	if r.Level >= slog.LevelError {
		label = "ERROR:   "
	}
	_, err := io.WriteString(c.w, label+text+cause+"\n")
	return err
}

// WithAttrs adds to every line.
func (c complaints) WithAttrs(attrs []slog.Attr) slog.Handler {
	c.attrs = append(slices.Clip(c.attrs), attrs...)
	return c
}

// WithGroup does nothing: a person needn't know of groups.
func (c complaints) WithGroup(string) slog.Handler { return c }

// printable is text on one line, with nothing that a terminal obeys.
func printable(text string) string {
	return strings.ReplaceAll(readable(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")), "\t", " ")
}

// readable is text on its lines, with nothing else that a terminal obeys.
func readable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return ' '
	}, text)
}
