package main

import (
	"bytes"
	"testing"
	"time"
)

// shownLog is what is shown of a log that has older parts.
func shownLog(t *testing.T, o logOptions, parts ...string) string {
	t.Helper()
	path := t.TempDir() + "/log"
	for n, text := range parts {
		name := path
		if older := len(parts) - 1 - n; older > 0 {
			name += "." + string(rune('0'+older))
		}
		writeFile(t, name, text)
	}
	var out bytes.Buffer
	l := logReader{path: path, rotated: true}
	if err := l.show(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTailStartsSoManyLinesBeforeTheEnd(t *testing.T) {
	for lines, want := range map[int]string{-1: "a\nb\nc\n", 0: "", 1: "c\n", 2: "b\nc\n", 9: "a\nb\nc\n"} {
		got := shownLog(t, logOptions{tail: lines, stdout: true, stderr: true},
			"2026-01-01T00:00:00Z stdout F a\n", "2026-01-01T00:00:01Z stderr P \n2026-01-01T00:00:01Z stderr F b\n2026-01-01T00:00:02Z stdout F c\n")
		if got != want {
			t.Errorf("--tail %d shows %q, want %q", lines, got, want)
		}
	}
}

func TestLogsAreShownAsTheyWereWritten(t *testing.T) {
	const log = "2026-01-01T00:00:00Z stdout P half \n2026-01-01T00:00:05Z stdout F line\n2026-01-01T00:00:06Z stderr F error\n2026-01-01T00:00:07Z stdout F cut of"
	for _, c := range []struct {
		name string
		o    logOptions
		want string
	}{
		{"stdout", logOptions{tail: -1, stdout: true}, "half line\n"},
		{"stderr", logOptions{tail: -1, stderr: true}, "error\n"},
		{"with times", logOptions{tail: -1, stdout: true, stderr: true, timestamps: true}, "2026-01-01T00:00:00Z half line\n2026-01-01T00:00:06Z error\n"},
		{"since", logOptions{tail: -1, stdout: true, stderr: true, from: time.Date(2026, 1, 1, 0, 0, 6, 0, time.UTC)}, "error\n"},
	} {
		if got := shownLog(t, c.o, log); got != c.want {
			t.Errorf("%s: shown %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSinceIsATimeOrHowLongAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"": {}, "10m": now.Add(-10 * time.Minute), "2026-01-02T11:00:00": now.Add(-time.Hour), "2026-01-02": now.Add(-12 * time.Hour),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"soon", "-5m", "12"} {
		if _, err := parseSince(bad, now); err == nil {
			t.Errorf("--since %s is no error", bad)
		}
	}
}
