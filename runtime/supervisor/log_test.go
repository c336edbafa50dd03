package supervisor

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/linux"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// records runs chunks through a stream's formatter with a tiny destination,
// so that each call has to come back for more.
func records(chunks []string) string {
	l := criLines{stream: "stdout"}
	now := time.Date(2026, 2, 3, 4, 5, 6, 7_800_000, time.FixedZone("", 3600))
	var all strings.Builder
	dst := make([]byte, 0, lineRoom)
	for _, c := range chunks {
		for rest := []byte(c); len(rest) > 0; {
			var out []byte
			out, rest = l.append(dst, rest, now)
			all.Write(out)
		}
	}
	all.Write(l.flush(dst, now))
	return all.String()
}

func TestLogRecords(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, chunks := range map[string][]string{
		"lines":          {"one\ntwo\n", "\n", "three\n"},
		"joined":         {"he", "ll", "o\nwor", "ld\n"},
		"partial_at_end": {"whole\nhalf"},
		"carriage":       {"a\r\nb\rc\n"},
		"exactly_full":   {long + "\n"},
		"one_too_long":   {long + "y\n"},
		"split_chunks":   {long[:maxLine-1], "ab", "c\n"},
		"very_long":      {long + long + "z\n"},
		"full_no_end":    {long},
		"nothing":        {},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(records(chunks), long, "<16384 x>")
			got = strings.ReplaceAll(got, long[:maxLine-1], "<16383 x>")
			golden := filepath.Join("testdata", "log_"+name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzLogKeepsEveryByte(f *testing.F) {
	f.Add("one\ntwo", 3)
	f.Add(strings.Repeat("x", 40000)+"\n\n", 20000)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		cut = max(0, min(cut, len(text)))
		var back strings.Builder
		for line := range strings.Lines(records([]string{text[:cut], text[cut:]})) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
			if len(f) != 4 || len(f[3]) > maxLine || f[2] != "F" && f[2] != "P" {
				t.Fatalf("record %q", line)
			}
			back.WriteString(f[3])
			if f[2] == "F" {
				back.WriteByte('\n')
			}
		}
		if back.String() != text {
			t.Errorf("log says %q, want %q", back.String(), text)
		}
	})
}

func TestLogDropsWhatAFullDiskDoesNotTake(t *testing.T) {
	fd, err := linux.OpenNull()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fd.Close() }()
	full, _, err := linux.OpenAppend("/dev/full", 0o600)
	if err != nil {
		t.Skip("needs /dev/full")
	}
	f := &logFile{fd: full, records: true}
	f.write([]byte("lost\n"))
	if f.dropped != 5 || f.torn {
		t.Errorf("dropped %d, torn %v, want 5 and nothing torn", f.dropped, f.torn)
	}
	_ = full.Close()
	f.fd = fd
	f.write([]byte("kept\n"))
	if f.dropped != 5 {
		t.Errorf("dropped %d after the disk has room, want 5", f.dropped)
	}
}

func TestReopenKeepsTheOldFilesAfterAnError(t *testing.T) {
	dir := t.TempDir()
	c := LogConfig{Out: filepath.Join(dir, "out"), Err: filepath.Join(dir, "d", "err")}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := newLogs(&c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for from, to := range map[string]string{c.Out: "old", filepath.Join(dir, "d"): "e"} {
		if err := os.Rename(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.reopen(); err == nil {
		t.Error("reopen succeeded without a directory")
	}
	if _, err := os.Stat(c.Out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new file exists: %v", err)
	}
	l.out.write([]byte("more"))
	if b, err := os.ReadFile(filepath.Join(dir, "old")); err != nil || string(b) != "more" {
		t.Errorf("old file has %q, %v, want more", b, err)
	}
}
