package image

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/sif"
)

const (
	// directoriesObject is the object of a layer's file with what the layer says of
	// directories: gzip'd lines of JSON, a layerHead and then a layer.Directory each.
	directoriesObject = "siflet-directories.json.gz"
	// maxDirectories bounds that, unpacked.
	maxDirectories = 1 << 30
)

// layerHead says what a layer leaves to the layers below it, and what it hides.
type layerHead struct {
	Implicit  []string `json:"implicit,omitempty"`
	Whiteouts []string `json:"whiteouts,omitempty"`
	Opaque    []string `json:"opaque,omitempty"`
}

// offsetWriter counts what it writes.
type offsetWriter struct {
	w io.WriterAt
	n int64
}

func (o *offsetWriter) Write(p []byte) (int, error) {
	n, err := o.w.WriteAt(p, o.n)
	o.n += int64(n)
	return n, err
}

// writeDirectories writes the object and returns its size.
func writeDirectories(w io.WriterAt, r *layer.Result) (int64, error) {
	out := &offsetWriter{w: w}
	buffered := bufio.NewWriterSize(out, 1<<16)
	packed, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return 0, err
	}
	lines := json.NewEncoder(packed)
	err = lines.Encode(layerHead{r.Implicit, r.Whiteouts, r.Opaque})
	for _, d := range r.Directories {
		if err == nil {
			err = lines.Encode(d)
		}
	}
	// A million directories are of no more use once they are written.
	r.Directories = nil
	err = errors.Join(err, packed.Close(), buffered.Flush())
	return out.n, err
}

// readDirectories reads what a layer's file says of directories. visit, if not nil,
// sees each. Of a layer that was not converted from a tar there is nothing to say.
func readDirectories(path string, visit func(layer.Directory)) (head layerHead, err error) {
	f, err := sif.Open(path)
	if err != nil {
		return head, err
	}
	object, ok := directoriesOf(f)
	if err := f.Close(); err != nil || !ok {
		return head, err
	}
	raw, err := os.Open(path)
	if err != nil {
		return head, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	packed, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(raw, object.Offset, object.Size)))
	if err != nil {
		return head, fmt.Errorf("%s: %s: %w", path, directoriesObject, err)
	}
	lines := json.NewDecoder(io.LimitReader(packed, maxDirectories))
	if err := lines.Decode(&head); err != nil {
		return head, fmt.Errorf("%s: %s: %w", path, directoriesObject, err)
	}
	for visit != nil {
		var d layer.Directory
		if err := lines.Decode(&d); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return head, fmt.Errorf("%s: %s: %w", path, directoriesObject, err)
		}
		visit(d)
	}
	return head, nil
}

func directoriesOf(f *sif.File) (sif.Descriptor, bool) {
	for _, d := range f.Descriptors {
		if d.Type == sif.TypeGeneric && d.Name == directoriesObject {
			return d, true
		}
	}
	return sif.Descriptor{}, false
}
