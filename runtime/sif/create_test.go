package sif

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOpenReadsFilesOfOtherPrograms(t *testing.T) {
	ociConfig := Config{Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	for name, want := range map[string]Image{
		"busybox_amd64.sif": {
			Native: true, Arch: "amd64", Config: ociConfig,
			Extents: []Extent{{Offset: 45056, Size: 745472, FS: "squashfs", Compression: "gzip"}},
		},
		"svc.sif": {
			Native: true, Arch: "amd64", Config: ociConfig,
			Extents: []Extent{{Offset: 36864, Size: 749568, FS: "squashfs", Compression: "gzip"}},
		},
		"d.oci.sif": {
			Arch: "amd64", Extents: []Extent{{Offset: 11116, Size: 741376, FS: "squashfs", Compression: "gzip"}},
			Config: Config{
				Entrypoint: []string{"/bin/echo", "ep $HOME", "it's"}, Cmd: []string{"cmd one", "two"},
				Env:        []string{"PATH=/img/bin:/usr/bin:/bin", "A=plain", `B=has "quotes" $HOME`, "EMPTY=", "bad-name=x"},
				WorkingDir: "/srv/work", User: "1234:5678", StopSignal: "SIGQUIT",
				Labels:  map[string]string{"org.opencontainers.image.title": "t"},
				Volumes: []string{"/vol"}, ExposedPorts: []string{"80/tcp"},
				Healthcheck: &Healthcheck{Test: []string{"CMD", "true"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			testFile(t, name)
			f, err := Open(testdata + name)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFile(t, f)
			if err := f.CheckArch("amd64"); err != nil {
				t.Error(err)
			}
			if err := f.CheckArch("arm64"); !errors.Is(err, ErrArch) {
				t.Errorf("CheckArch(arm64) = %v, want ErrArch", err)
			}
			image, err := f.Image()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, image); diff != "" {
				t.Errorf("Image (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadataOfFilesOfOtherPrograms(t *testing.T) {
	testFile(t, "svc.sif")
	f, err := Open(testdata + "svc.sif")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	if text, err := f.Definition(); err != nil || !strings.HasPrefix(text, "Bootstrap: localimage\n") {
		t.Errorf("Definition = %.40q, %v", text, err)
	}
	if labels, err := f.Labels(); err != nil || labels["built.by"] != "siflet-lab" {
		t.Errorf("Labels = %v, %v; want built.by", labels, err)
	}
	if text, err := f.Document("inspect-metadata.json"); err != nil || !bytes.HasPrefix(text, []byte(`{"data":`)) {
		t.Errorf("Document = %.40q, %v", text, err)
	}
	if text, err := f.Document("no-such.json"); err != nil || text != nil {
		t.Errorf("Document of a missing name = %q, %v; want nil", text, err)
	}
}

func TestCreateThenOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sif")
	created := time.Unix(1_700_000_000, 0)
	if err := os.WriteFile(path, []byte("an older file"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Create(path, Options{Time: created, Objects: []Object{
		{Type: TypeDefinition, Data: strings.NewReader("Bootstrap: scratch\n")},
		{Type: TypeLabels, Data: strings.NewReader(`{"k": "v"}`)},
		{Type: TypePartition, FS: FSSquash, Part: PartPrimary, Arch: "riscv64", Data: bytes.NewReader(squash(5000))},
		{Type: TypePartition, FS: FSSquash, Part: PartOverlay, Arch: "riscv64", Data: bytes.NewReader(squash(4096))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, f)
	want := Header{Launch: "#!/usr/bin/env run-singularity", Version: "01", Arch: "riscv64", Created: created, Modified: created}
	ignored := cmpopts.IgnoreFields(Header{}, "ID")
	if diff := cmp.Diff(want, f.Header, ignored, cmpopts.IgnoreUnexported(Header{})); diff != "" {
		t.Errorf("Header (-want +got):\n%s", diff)
	}
	if v := f.Header.ID[6] >> 4; v != 4 {
		t.Errorf("UUID version is %d, want 4", v)
	}
	image, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	extents := []Extent{
		{Offset: 32768, Size: 5000, FS: "squashfs", Compression: "gzip"},
		{Offset: 40960, Size: 4096, FS: "squashfs", Compression: "gzip"},
	}
	if diff := cmp.Diff(extents, image.Extents); diff != "" {
		t.Errorf("Extents (-want +got):\n%s", diff)
	}
	if labels, err := f.Labels(); err != nil || labels["k"] != "v" {
		t.Errorf("Labels = %v, %v", labels, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode = %v, %v; want 0755", info.Mode(), err)
	}
}

func TestImageStacksAnExt3Overlay(t *testing.T) {
	ext3 := make([]byte, 4096)
	ext3[1024+56], ext3[1024+57] = 0x53, 0xef
	image, err := parse(create(t,
		Object{Type: TypePartition, FS: FSExt3, Part: PartOverlay, Arch: "amd64", Data: bytes.NewReader(ext3)},
		Object{Type: TypePartition, FS: FSSquash, Part: PartPrimary, Arch: "amd64", Data: bytes.NewReader(squash(4096))},
		Object{Type: TypePartition, FS: FSRaw, Part: PartData, Arch: "amd64", Data: strings.NewReader("data")},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Extent{
		{Offset: 36864, Size: 4096, FS: "squashfs", Compression: "gzip"},
		{Offset: 32768, Size: 4096, FS: "ext3"},
	}
	if diff := cmp.Diff(want, image.Extents); diff != "" {
		t.Errorf("Extents (-want +got):\n%s", diff)
	}
}

func TestCreateIsDeterministicWhenAsked(t *testing.T) {
	if !bytes.Equal(native(t), native(t)) {
		t.Error("two deterministic files differ")
	}
}

func TestCreateFailureLeavesNothing(t *testing.T) {
	broken := errors.New("broken")
	for name, object := range map[string]Object{
		"reader":    {Type: TypeGeneric, Data: iotest.ErrReader(broken)},
		"no reader": {Type: TypeGeneric},
		"long name": {Type: TypeGeneric, Name: strings.Repeat("x", 128), Data: strings.NewReader("")},
		"arch":      {Type: TypePartition, FS: FSSquash, Part: PartPrimary, Arch: "pdp11", Data: strings.NewReader("")},
	} {
		dir := t.TempDir()
		if err := Create(filepath.Join(dir, "x.sif"), Options{Objects: []Object{object}}); err == nil {
			t.Errorf("%s: Create succeeded", name)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v behind (%v)", name, entries, err)
		}
	}
}

func TestReadOfAFileThatShrinksIsAnError(t *testing.T) {
	text := native(t)
	_, err := Parse(bytes.NewReader(text[:5000]), int64(len(text)))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Parse = %v, want io.ErrUnexpectedEOF", err)
	}
}

func closeFile(t *testing.T, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
