package record

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall" //nolint:depguard // a pipe, to be refused
	"testing"
)

type thing struct {
	Name string
	N    int
}

func TestWriteThenReadGivesTheSameValue(t *testing.T) {
	for name, write := range map[string]func(string, any) error{"durable": Write, "volatile": WriteVolatile} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, want := filepath.Join(dir, "a.json"), thing{"web", 3}
			for range 2 {
				if err := write(path, want); err != nil {
					t.Fatal(err)
				}
			}
			var got thing
			if err := Read(path, &got); err != nil || got != want {
				t.Errorf("Read = %v, %v; want %v", got, err, want)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("directory holds %v, %v; want the record alone", entries, err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
			}
		})
	}
}

func TestReadNamesThePathAndTheKind(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "half": `{"Name": "we`, "two": `{}{}`, "type": `{"N": "x"}`, "binary": "\x00\x01",
		"big": `"` + strings.Repeat("x", MaxSize) + `"`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Read(path, &thing{})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Read = %v, want ErrCorrupt naming %s", name, err, path)
		}
	}
	if err := Read(filepath.Join(dir, "missing"), &thing{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of a missing file = %v, want fs.ErrNotExist", err)
	}
	if err := Read(dir, &thing{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read of a directory = %v, want ErrCorrupt", err)
	}
}

func TestReadWaitsForNobody(t *testing.T) {
	dir := t.TempDir()
	pipe, link, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err = errors.Join(err, syscall.Mkfifo(pipe, 0o600), Write(filepath.Join(dir, "other"), thing{"web", 3}), os.Symlink("other", link)); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, path := range []string{pipe, link, socket} {
		if err := Read(path, &thing{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("Read = %v, want ErrCorrupt naming %s", err, path)
		}
	}
	round := filepath.Join(dir, "round") // a directory on the way to a record
	if err := os.Symlink("round", round); err != nil {
		t.Fatal(err)
	}
	if err := Read(filepath.Join(round, "a.json"), &thing{}); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("Read beyond a link that leads to itself = %v, want an error that does not blame the record", err)
	}
	if err := WriteVolatile(link, thing{"new", 1}); err != nil {
		t.Fatal(err)
	}
	var got thing
	if err := Read(filepath.Join(dir, "other"), &got); err != nil || got.N != 3 {
		t.Errorf("WriteVolatile wrote through a link: %v, %v", got, err)
	}
}

func TestWriteFailureKeepsTheOldRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := Write(path, thing{"old", 1}); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"not JSON": make(chan int), "huge": strings.Repeat("x", MaxSize)} {
		if err := Write(path, v); err == nil {
			t.Errorf("%s: Write succeeded", name)
		}
	}
	var got thing
	if err := Read(path, &got); err != nil || got.Name != "old" {
		t.Errorf("Read = %v, %v; want the old record", got, err)
	}
}

func TestReadersNeverSeeHalfARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := WriteVolatile(path, thing{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 200 {
			if err := WriteVolatile(path, thing{strings.Repeat("x", n*50), n}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 500 {
		var got thing
		if err := Read(path, &got); err != nil || len(got.Name) != got.N*50 {
			t.Fatalf("Read = %d bytes for %d, %v", len(got.Name), got.N, err)
		}
	}
	wg.Wait()
}

func TestWriteVolatileKeepsTheInode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	var first os.FileInfo
	for n := range 3 {
		if err := WriteVolatile(path, thing{"web", n}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) {
			t.Errorf("version %d is in a new file", n)
		}
	}
	var got thing
	if err := Read(path, &got); err != nil || got.N != 2 {
		t.Errorf("Read = %v, %v; want the last version", got, err)
	}
}

func TestReadIgnoresAVersionThatWasNotFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	half := `{"Name":"web","N":1}` + "\n" + `{"Name":"web","N`
	if err := os.WriteFile(path, []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	var got thing
	if err := Read(path, &got); err != nil || got.N != 1 {
		t.Errorf("Read = %v, %v; want the version before", got, err)
	}
	if err := WriteVolatile(path, thing{"web", 2}); err != nil {
		t.Fatal(err)
	}
	if err := Read(path, &got); err != nil || got.N != 2 {
		t.Errorf("Read after the next write = %v, %v; want the new version", got, err)
	}
}

func TestReadRejectsALastVersionThatIsNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(path, []byte("{\"N\":1}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got thing
	if err := Read(path, &got); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read = %v, %v; want ErrCorrupt", got, err)
	}
}

func TestManyVersionsAreBegunAnew(t *testing.T) {
	path, long := filepath.Join(t.TempDir(), "a.json"), strings.Repeat("x", 10<<10)
	for n := range 100 {
		if err := WriteVolatile(path, thing{long, n}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxVersions {
		t.Errorf("size = %d, %v; want at most %d", info.Size(), err, maxVersions)
	}
	var got thing
	if err := Read(path, &got); err != nil || got.N != 99 {
		t.Errorf("Read = %d, %v; want the last version", got.N, err)
	}
}
