package publish_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/siflet/siflet/runtime/publish"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/squashfs"
)

// write makes a SIF file of a file system and documents.
func write(t *testing.T, documents map[string]string, fill func(add func(e squashfs.Entry, text string), link func(path, target string))) *sif.File {
	t.Helper()
	var objects []sif.Object
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		objects = append(objects, sif.Object{Type: sif.TypeJSON, Name: name, Data: strings.NewReader(documents[name])})
	}
	objects = append(objects, sif.Object{
		Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: goruntime.GOARCH,
		Fill: func(out io.WriterAt) (int64, error) {
			w, err := squashfs.New(t.Context(), out, squashfs.Options{Compression: squashfs.Gzip})
			if err != nil {
				return 0, err
			}
			defer w.Abort()
			fill(func(e squashfs.Entry, text string) {
				e.Size = int64(len(text))
				var data io.Reader
				if text != "" {
					data = strings.NewReader(text)
				}
				err = errors.Join(err, w.Add(e, data))
			}, func(path, target string) { err = errors.Join(err, w.Link(path, target)) })
			if err != nil {
				return 0, err
			}
			return w.Close()
		},
	})
	path := filepath.Join(t.TempDir(), "x.sif")
	if err := sif.Create(path, sif.Options{Objects: objects, Deterministic: true}); err != nil {
		t.Fatal(err)
	}
	f, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func layers(t *testing.T, f *sif.File) *publish.Layered {
	t.Helper()
	l, err := publish.Layers(t.Context(), f, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestLayerHasAllOfTheFileSystem(t *testing.T) {
	f := write(t, nil, func(add func(squashfs.Entry, string), link func(path, target string)) {
		add(squashfs.Entry{Path: "dir/file", Mode: 0o104755, UID: 3, GID: 70000, Xattrs: map[string]string{"security.capability": "\x01\x02"}}, "content")
		link("dir/hard", "dir/file")
		add(squashfs.Entry{Path: "soft", Mode: 0o120777, Target: "/dir/file"}, "")
		add(squashfs.Entry{Path: "null", Mode: 0o020666, Major: 1, Minor: 3}, "")
		add(squashfs.Entry{Path: "gone", Mode: 0o020000}, "")
		add(squashfs.Entry{Path: "socket", Mode: 0o140755}, "")
		add(squashfs.Entry{Path: "anew", Mode: 0o040700, Xattrs: map[string]string{"trusted.overlay.opaque": "y"}}, "")
	})
	blob := layers(t, f).Blobs[1]
	z, err := gzip.NewReader(io.NewSectionReader(blob.Data, 0, blob.Size))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Type           byte
		Mode           int64
		UID, GID       int
		Link, Text     string
		Major, Minor   int64
		SecurityXattrs string
	}
	got := map[string]entry{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = entry{h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, string(text), h.Devmajor, h.Devminor, h.PAXRecords["SCHILY.xattr.security.capability"]}
	}
	want := map[string]entry{
		"dir/": {Type: tar.TypeDir, Mode: 0o755}, "anew/": {Type: tar.TypeDir, Mode: 0o700},
		"dir/file": {Type: tar.TypeReg, Mode: 0o4755, UID: 3, GID: 70000, Text: "content", SecurityXattrs: "\x01\x02"},
		"dir/hard": {Type: tar.TypeLink, Mode: 0o4755, UID: 3, GID: 70000, Link: "dir/file", SecurityXattrs: "\x01\x02"},
		"soft":     {Type: tar.TypeSymlink, Mode: 0o777, Link: "/dir/file"}, "null": {Type: tar.TypeChar, Mode: 0o666, Major: 1, Minor: 3},
		".wh.gone": {Type: tar.TypeReg, Mode: 0o644}, "anew/.wh..wh..opq": {Type: tar.TypeReg, Mode: 0o644},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigSaysWhatRuns(t *testing.T) {
	const oci = `{"Entrypoint":["/app"],"Cmd":["x"],"Env":["A=b"],"Labels":{"from":"oci"}}`
	said := func(runscript string) string {
		return `{"data":{"attributes":{"labels":{"said":"yes"},"runscript":"` + runscript + `"}},"type":"container"}`
	}
	for name, test := range map[string]struct {
		documents map[string]string
		want      string
	}{
		"its runscript":            {map[string]string{"inspect-metadata.json": said("echo")}, `"Entrypoint":["/.singularity.d/pushed/run"]`},
		"what it was made of":      {map[string]string{"inspect-metadata.json": said("OCI_ENTRYPOINT='/app'"), "oci-config.json": oci}, `"Cmd":["x"],"Entrypoint":["/app"],"Env":["A=b"]`},
		"a runscript of its own":   {map[string]string{"inspect-metadata.json": said("echo"), "oci-config.json": oci}, `"Entrypoint":["/.singularity.d/pushed/run"],"Env":["A=b"]`},
		"labels of both":           {map[string]string{"inspect-metadata.json": said("echo"), "oci-config.json": oci}, `"Labels":{"from":"oci","said":"yes"}`},
		"nothing that it does not": {nil, `"Env":["PATH=`},
	} {
		t.Run(name, func(t *testing.T) {
			f := write(t, test.documents, func(add func(squashfs.Entry, string), _ func(path, target string)) {
				add(squashfs.Entry{Path: "x", Mode: 0o100644}, "x")
			})
			blob := layers(t, f).Blobs[0]
			text, err := io.ReadAll(io.NewSectionReader(blob.Data, 0, blob.Size))
			if err != nil || !bytes.Contains(text, []byte(test.want)) {
				t.Errorf("the config is %s, %v, want %s in it", text, err, test.want)
			}
			if test.documents == nil && bytes.Contains(text, []byte("Entrypoint")) {
				t.Errorf("the config is %s, with an entry point", text)
			}
		})
	}
}

// A program that makes a SIF file of an image writes a runscript, which runs the entry point, and scripts of its own for the
// environment over the image's.
func TestEntryPointNeedsNothingThatIsWrittenOver(t *testing.T) {
	f := write(t, map[string]string{"inspect-metadata.json": `{"data":{"attributes":{"runscript":"#!/bin/sh\necho it","environment":{"/.singularity.d/env/90-environment.sh":"export A=b"}}}}`},
		func(add func(squashfs.Entry, string), _ func(path, target string)) {
			add(squashfs.Entry{Path: "x", Mode: 0o100644}, "x")
		})
	blobs := layers(t, f).Blobs
	blob := blobs[len(blobs)-1]
	z, err := gzip.NewReader(io.NewSectionReader(blob.Data, 0, blob.Size))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(text)
	}
	const dir = ".singularity.d/pushed/"
	if !strings.Contains(got[dir+"run"], "exec /"+dir+"runscript") {
		t.Errorf("the entry point is %q", got[dir+"run"])
	}
	delete(got, dir+"run")
	want := map[string]string{
		".singularity.d/": "", dir: "", dir + "env/": "", dir + "runscript": "#!/bin/sh\necho it\n", dir + "env/90-environment.sh": "export A=b\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatNoLayerCanBeMadeOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sif")
	ext3 := make([]byte, 4096)
	ext3[1024+56], ext3[1024+57] = 0x53, 0xef
	if err := sif.Create(path, sif.Options{Objects: []sif.Object{{
		Type: sif.TypePartition, FS: sif.FSExt3, Part: sif.PartPrimary, Arch: goruntime.GOARCH, Data: bytes.NewReader(ext3),
	}}}); err != nil {
		t.Fatal(err)
	}
	f, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	if _, err := publish.Layers(t.Context(), f, dir); !errors.Is(err, publish.ErrUnsupported) {
		t.Errorf("Layers() = %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
