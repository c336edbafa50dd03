package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestProgressFitsIntoTheLine(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		width       int
		want        string
	}{
		{512, 1024, 0, " 50%  512B of 1KiB"},
		{512, 1024, 80, " 50%  512B of 1KiB"},
		{512, 1024, 18, " 50%  512B of 1Ki"},
		{512, 1024, 10, " 50%  512"},
		{512, 1024, 1, ""},
		{1024, 1024, 0, "100%  1KiB of 1KiB"},
		{2048, 1024, 0, "100%  2KiB of 1KiB"},
		{2048, 0, 0, "      2KiB"},
		{-1, -1, 0, "      0B"},
	} {
		if got := progressLine(c.done, c.total, c.width); got != c.want {
			t.Errorf("%d of %d in %d columns: %q, want %q", c.done, c.total, c.width, got, c.want)
		}
	}
}

func TestWhatIsSaidTakesThePlaceOfProgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := &console{f: f}
	c.show("")
	warn(c, "one")
	c.show("10%")
	warn(c, "two")
	warn(c, "three")
	c.show("20%")
	c.show("")
	c.show("")
	want := "WARNING: one\n" + eraseLine + "10%" + eraseLine + "WARNING: two\nWARNING: three\n" + eraseLine + "20%" + eraseLine
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("it wrote %q (%v), want %q", got, err, want)
	}
}

func TestProgressIsForTerminalsOnly(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bar := newProgress(&console{f: f})
	bar.show(1, 1)
	bar.end()
	if info, err := f.Stat(); err != nil || info.Size() > 0 {
		t.Errorf("it wrote %d bytes to a file (%v)", info.Size(), err)
	}
}

func TestComplaintsAreWarningsOnALine(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(complaints{w: &out})
	log.Info("nobody needs to know")
	log.Warn("registry is busy", "host", "quay.io", "pause", "2s", "error", errors.New("429\nslow \x1b[31mdown"))
	log.With("instance", "web").WithGroup("x").Warn("it does not answer")
	log.Error("it is gone", "code", 3)
	want := "WARNING: registry is busy (host quay.io, pause 2s): 429; slow  [31mdown\n" +
		"WARNING: it does not answer (instance web)\n" +
		"ERROR:   it is gone (code 3)\n"
	if out.String() != want {
		t.Errorf("a person reads\n%s\nwant\n%s", out.String(), want)
	}
}
