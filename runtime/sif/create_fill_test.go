package sif

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCreateHashesWhatIsFilledInInAnyOrder(t *testing.T) {
	parts := []string{"head", "body", "tail"}
	const want = "headbodytail\x00\x00\x00\x00"
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "head last": {1, 2, 0}, "twice": {0, 1, 2, 1}, "backwards": {2, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			var got Descriptor
			text := create(t, Object{Type: TypeOCIBlob, Fill: func(w io.WriterAt) (int64, error) {
				for _, n := range order {
					if _, err := w.WriteAt([]byte(parts[n]), int64(n)*4); err != nil {
						return 0, err
					}
				}
				return int64(len(want)), nil
			}, Written: func(d Descriptor) { got = d }})
			f, err := Parse(bytes.NewReader(text), int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			d := f.Descriptors[0]
			if content, err := f.Read(d); err != nil || string(content) != want {
				t.Errorf("content = %q, %v; want %q", content, err, want)
			}
			if d.Digest != digestOf([]byte(want)) {
				t.Errorf("digest = %s, want that of the content", d.Digest)
			}
			if got.Digest != d.Digest || got.Offset != d.Offset || got.Size != d.Size || got.ID != d.ID {
				t.Errorf("Written heard of %+v, the file has %+v", got, d)
			}
		})
	}
}

func TestObjectsSpeakOfThoseBefore(t *testing.T) {
	var layer Descriptor
	text := create(t,
		Object{Type: TypeOCIBlob, Aligned: true, Data: strings.NewReader("layer"), Written: func(d Descriptor) { layer = d }},
		Object{Type: TypeOCIBlob, Fill: func(w io.WriterAt) (int64, error) {
			n, err := w.WriteAt([]byte(layer.Digest), 0)
			return int64(n), err
		}})
	f, err := Parse(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Read(f.Descriptors[1]); err != nil || string(got) != digestOf([]byte("layer")) {
		t.Errorf("second object = %q, %v; want the digest of the first", got, err)
	}
	if at := f.Descriptors[0].Offset; at%4096 != 0 {
		t.Errorf("the aligned object is at %d", at)
	}
}

func TestWhatIsFilledInBeyondTheSizeIsCutOff(t *testing.T) {
	fill := func(more int) Object {
		return Object{Type: TypeOCIBlob, Fill: func(w io.WriterAt) (int64, error) {
			_, err := w.WriteAt([]byte("data"+strings.Repeat("x", more)), 0)
			return 4, err
		}}
	}
	next := Object{Type: TypeOCIBlob, Aligned: true, Fill: func(io.WriterAt) (int64, error) { return 0, nil }}
	if !bytes.Equal(create(t, fill(0), next), create(t, fill(9000), next)) {
		t.Error("what was written beyond the size is in the file")
	}
}

func TestCreateRefusesSizesThatAreNotTrue(t *testing.T) {
	broken := errors.New("broken")
	for name, fill := range map[string]func(w io.WriterAt) (int64, error){
		"an error":           func(io.WriterAt) (int64, error) { return 0, broken },
		"negative size":      func(io.WriterAt) (int64, error) { return -1, nil },
		"a size without end": func(io.WriterAt) (int64, error) { return math.MaxInt64, nil },
		"before the start": func(w io.WriterAt) (int64, error) {
			n, err := w.WriteAt([]byte("four"), -4)
			return int64(n), err
		},
		"past the end of all files": func(w io.WriterAt) (int64, error) {
			n, err := w.WriteAt([]byte("four"), math.MaxInt64-5)
			return int64(n), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old := filepath.Join(dir, "x.sif")
			if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Create(old, Options{Objects: []Object{{Type: TypeGeneric, Fill: fill}}}); err == nil {
				t.Error("Create succeeded")
			}
			onlyFile(t, dir, "old")
		})
	}
}

func TestCopyTakesSIFFilesOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.sif")
	text := native(t)
	if err := Copy(path, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"text": strings.NewReader("no image"), "cut short": bytes.NewReader(text[:5000]), "broken": iotest.ErrReader(errors.New("broken")),
	} {
		if err := Copy(path, r); err == nil {
			t.Errorf("%s: Copy succeeded", name)
		}
		onlyFile(t, dir, string(text))
	}
}

// onlyFile wants one file in dir, with that content.
func onlyFile(t *testing.T, dir, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("directory holds %v (%v), want one file", entries, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, entries[0].Name())); err != nil || string(got) != content {
		t.Errorf("the file changed (%v)", err)
	}
}
