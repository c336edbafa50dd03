package squashfs_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/samples"
)

var errNoSpace = errors.New("no space left")

// full has room for so many bytes.
type full struct{ room int64 }

func (f full) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.room {
		return 0, errNoSpace
	}
	return len(p), nil
}

func TestAFullDiskEndsTheWriter(t *testing.T) {
	for _, room := range []int64{0, 95, 1000, 500_000, 1_000_000} {
		w, err := squashfs.New(t.Context(), full{room}, squashfs.Options{Compression: squashfs.None})
		must(t, err)
		for i := range 100 {
			if err = w.Add(file(strconv.Itoa(i), noise(200_000, uint64(i)))); err != nil {
				break
			}
		}
		if !errors.Is(err, errNoSpace) {
			t.Errorf("%d bytes: Add() = %v, want %v", room, err, errNoSpace)
		}
		if _, err := w.Close(); !errors.Is(err, errNoSpace) {
			t.Errorf("%d bytes: Close() = %v, want %v", room, err, errNoSpace)
		}
	}
	w, err := squashfs.New(t.Context(), full{100}, squashfs.Options{})
	must(t, err)
	must(t, w.Add(dir("a"), nil))
	if _, err := w.Close(); !errors.Is(err, errNoSpace) {
		t.Errorf("tables: Close() = %v, want %v", err, errNoSpace)
	}
}

func TestCancellingEndsTheWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := squashfs.New(ctx, &samples.File{}, squashfs.Options{})
	must(t, err)
	add(t, w, "a", noise(1_000_000, 1))
	cancel()
	if err := w.Add(file("b", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Add() = %v, want %v", err, context.Canceled)
	}
	if _, err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close() = %v, want %v", err, context.Canceled)
	}
}

func TestAClosedWriterTakesNoMore(t *testing.T) {
	w, err := squashfs.New(t.Context(), &samples.File{}, squashfs.Options{})
	must(t, err)
	_, err = w.Close()
	must(t, err)
	w.Abort()
	_, again := w.Close()
	for name, err := range map[string]error{"Add": w.Add(dir("a"), nil), "Link": w.Link("a", "b"), "Close": again} {
		if err == nil {
			t.Errorf("%s() after Close() = nil, want an error", name)
		}
	}
}

func TestNewRefusesWhatItCannotDo(t *testing.T) {
	for _, o := range []squashfs.Options{
		{Compression: 2},
		{BlockSize: 2048},
		{BlockSize: 2 << 20},
		{BlockSize: 5000},
		{Compression: squashfs.Gzip, Level: 10},
		{Compression: squashfs.Gzip, Level: -2},
		{Compression: squashfs.LZ4, Level: 10},
		{Compression: squashfs.Zstd, Level: 23},
	} {
		if _, err := squashfs.New(t.Context(), &samples.File{}, o); err == nil {
			t.Errorf("New(%+v) = nil, want an error", o)
		}
	}
}
