package convert

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
)

// blobs are the parts of an image in memory.
type blobs map[string][]byte

func (b blobs) Open(_ context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	text, ok := b[d.Digest.Hex]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(text[offset:])), nil
}

func (blobs) Close() error { return nil }

func hashOf(text []byte) v1.Hash {
	sum := sha256.Sum256(text)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func (b blobs) add(mediaType types.MediaType, text []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: hashOf(text), Size: int64(len(text))}
	b[d.Digest.Hex] = text
	return d
}

// file is an entry of a layer: a directory if its name ends in "/", a link if it
// has a target.
type file struct {
	name, content, target string
	mode                  int64
	char                  [2]int64
	xattrs                map[string]string
}

// layerOf is a layer as a tar.
func layerOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Linkname: f.target}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		for name, value := range f.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		case f.target != "":
			h.Typeflag = tar.TypeSymlink
		case f.char != [2]int64{}:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, f.char[0], f.char[1]
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// defaultConfig is the config of images, before they have layers.
const defaultConfig = `{"architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09.1Z", "custom": {"kept": true},
	"history": [{"created_by": "me"}], "config": {"Cmd": ["sh"], "Labels": {"own": "label"}, "X": 1}}`

// imageOf makes an image of tars, lowest first.
func imageOf(t *testing.T, layers ...[]byte) *source.Image {
	t.Helper()
	b := blobs{}
	image := &source.Image{Name: "registry.example/app:1", Blobs: b}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: map[string]string{"kept": "yes"}}
	var all map[string]any
	if err := json.Unmarshal([]byte(defaultConfig), &all); err != nil {
		t.Fatal(err)
	}
	diffs := []string{}
	for _, text := range layers {
		diff := hashOf(text)
		d := b.add(types.OCILayer, zipped(t, text))
		if bytes.HasPrefix(text, []byte("hsqs")) {
			d = b.add(layerSquashfs, text)
		}
		image.Layers = append(image.Layers, source.Layer{Descriptor: d, DiffID: diff})
		manifest.Layers = append(manifest.Layers, d)
		diffs = append(diffs, diff.String())
	}
	all["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffs}
	var err error
	if image.Config, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	manifest.Config = b.add(types.OCIConfigJSON, image.Config)
	if image.Raw, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	image.Manifest = hashOf(image.Raw)
	image.Top = image.Manifest
	return image
}

// unpacked extracts a file system of a SIF file and returns where it is.
func unpacked(t *testing.T, path string, extent int) string {
	t.Helper()
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("unsquashfs is not there (Debian package squashfs-tools)")
	}
	f := opened(t, path)
	image, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := image.Extents[extent]
	part := filepath.Join(t.TempDir(), "squashfs")
	if err := os.WriteFile(part, text[e.Offset:e.Offset+e.Size], 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.CommandContext(t.Context(), "unsquashfs", "-q", "-n", "-d", root, part).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	return root
}

func opened(t *testing.T, path string) *sif.File {
	t.Helper()
	f, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// read is the content of a file of the image, or what kind of error there was.
func read(t *testing.T, root, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v is left behind (%v)", entries, err)
	}
}
