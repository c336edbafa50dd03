package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/siflet/siflet/cmd/internal/config"
)

// logbook is the agent's log, whose level and format can change at any time.
type logbook struct {
	*slog.Logger

	level *slog.LevelVar
	json  *atomic.Bool
}

func newLogbook(w io.Writer, c *config.Config) *logbook {
	l := &logbook{level: &slog.LevelVar{}, json: &atomic.Bool{}}
	options := &slog.HandlerOptions{Level: l.level}
	l.Logger = slog.New(bothFormats{slog.NewTextHandler(w, options), slog.NewJSONHandler(w, options), l.json})
	l.apply(c)
	return l
}

// apply goes by the settings of c, which have been checked.
func (l *logbook) apply(c *config.Config) {
	_ = l.level.UnmarshalText([]byte(c.LogLevel))
	l.json.Store(c.LogFormat == "json")
}

// bothFormats writes text or JSON, as the switch says when a line is written.
type bothFormats struct {
	text, json slog.Handler
	useJSON    *atomic.Bool
}

func (b bothFormats) Enabled(ctx context.Context, level slog.Level) bool {
	return b.text.Enabled(ctx, level)
}

func (b bothFormats) Handle(ctx context.Context, r slog.Record) error {
	if b.useJSON.Load() {
		return b.json.Handle(ctx, r)
	}
	return b.text.Handle(ctx, r)
}

func (b bothFormats) WithAttrs(list []slog.Attr) slog.Handler {
	return bothFormats{b.text.WithAttrs(list), b.json.WithAttrs(list), b.useJSON}
}

func (b bothFormats) WithGroup(name string) slog.Handler {
	return bothFormats{b.text.WithGroup(name), b.json.WithGroup(name), b.useJSON}
}

// ofStreams is for the streaming library, to which each stream that does not end well
// is an error of ours. The client has been told; most often it was its mistake, or it left.
type ofStreams struct{ slog.Handler }

func (o ofStreams) Handle(ctx context.Context, r slog.Record) error {
	const panicked = "Observed a panic" // which the library survives
	if r.Message != panicked {
		r.Level = slog.LevelDebug
	}
	if !o.Enabled(ctx, r.Level) {
		return nil
	}
	return o.Handler.Handle(ctx, r)
}

func (o ofStreams) WithAttrs(list []slog.Attr) slog.Handler {
	return ofStreams{o.Handler.WithAttrs(list)}
}

func (o ofStreams) WithGroup(name string) slog.Handler { return ofStreams{o.Handler.WithGroup(name)} }
