package image

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/sif"
)

const (
	// directoriesObject is the object of a layer's file with what squashfs does not say of
	// the layer: gzip'd lines of JSON, a layerSummary, a layerHead and then a directoryLine
	// for each directory that the layer describes.
	directoriesObject = "siflet-directories.json.gz"
	// maxDirectories bounds that, unpacked.
	maxDirectories = 1 << 30
)

// layerSummary says what there is beside the file.
type layerSummary struct {
	// ACLs is the number of names with an ACL. If there is one, a directory is
	// beside the file.
	ACLs int `json:"acls"`
}

// layerHead says what a layer leaves to the layers below it, and what it hides.
type layerHead struct {
	Implicit  rawNames `json:"implicit,omitempty"`
	Whiteouts rawNames `json:"whiteouts,omitempty"`
	Opaque    rawNames `json:"opaque,omitempty"`
}

// rawNames are names of any bytes, which text in JSON can't be.
type rawNames []string

// MarshalJSON writes them in base64.
func (r rawNames) MarshalJSON() ([]byte, error) {
	raw := make([][]byte, len(r))
	for i, name := range r {
		raw[i] = []byte(name)
	}
	return json.Marshal(raw)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *rawNames) UnmarshalJSON(text []byte) error {
	var raw [][]byte
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*r = nil
	for _, name := range raw {
		*r = append(*r, string(name))
	}
	return nil
}

// directoryLine is a layer.Directory in JSON: names and values may be any bytes.
type directoryLine struct {
	Path []byte `json:"path"`
	Mode uint32 `json:"mode"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Time int64  `json:"time"`
	// Xattrs are names and values, sorted.
	Xattrs [][2][]byte `json:"xattrs,omitempty"`
}

func lineOf(d layer.Directory) directoryLine {
	line := directoryLine{Path: []byte(d.Path), Mode: d.Mode, UID: d.UID, GID: d.GID, Time: d.Time}
	for _, name := range slices.Sorted(maps.Keys(d.Xattrs)) {
		line.Xattrs = append(line.Xattrs, [2][]byte{[]byte(name), []byte(d.Xattrs[name])})
	}
	return line
}

func (l directoryLine) directory() layer.Directory {
	d := layer.Directory{Path: string(l.Path), Mode: l.Mode, UID: l.UID, GID: l.GID, Time: l.Time}
	for _, pair := range l.Xattrs {
		if d.Xattrs == nil {
			d.Xattrs = map[string]string{}
		}
		d.Xattrs[string(pair[0])] = string(pair[1])
	}
	return d
}

// directories is the object for what came out of a layer, which may come later.
func directories(r *layer.Result) sif.Object {
	return sif.Object{
		Type: sif.TypeGeneric, Name: directoriesObject, Fill: func(w io.WriterAt) (int64, error) { return writeDirectories(w, r) },
	}
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
	err = lines.Encode(layerSummary{len(r.ACLs)})
	if err == nil {
		err = lines.Encode(layerHead{r.Implicit, r.Whiteouts, r.Opaque})
	}
	for _, d := range r.Directories {
		if err == nil {
			err = lines.Encode(lineOf(d))
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
	err = readLines(path, func(lines *json.Decoder) error {
		if err := errors.Join(lines.Decode(&layerSummary{}), lines.Decode(&head)); err != nil {
			return err
		}
		for visit != nil {
			var line directoryLine
			if err := lines.Decode(&line); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			visit(line.directory())
		}
		return nil
	})
	return head, err
}

// readSummary reads what should be beside a layer's file.
func readSummary(path string) (summary layerSummary, err error) {
	err = readLines(path, func(lines *json.Decoder) error { return lines.Decode(&summary) })
	return summary, err
}

// readLines hands out the lines of a layer's object, if it has one.
func readLines(path string, read func(*json.Decoder) error) (err error) {
	f, err := sif.Open(path)
	if err != nil {
		return err
	}
	object, ok := directoriesOf(f)
	if err := f.Close(); err != nil || !ok {
		return err
	}
	raw, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	packed, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(raw, object.Offset, object.Size)))
	if err == nil {
		err = read(json.NewDecoder(io.LimitReader(packed, maxDirectories)))
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", path, directoriesObject, err)
	}
	return nil
}

func directoriesOf(f *sif.File) (sif.Descriptor, bool) {
	for _, d := range f.Descriptors {
		if d.Type == sif.TypeGeneric && d.Name == directoriesObject {
			return d, true
		}
	}
	return sif.Descriptor{}, false
}
