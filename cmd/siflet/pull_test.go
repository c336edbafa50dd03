package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall" //nolint:depguard // makes a pipe
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime/convert"
	"github.com/siflet/siflet/runtime/source"
)

func TestPullTellsImageAndOutputApart(t *testing.T) {
	for _, c := range []struct {
		args        []string
		o           pullOptions
		uri, output string // empty if it is a mistake
	}{
		{args: []string{"docker://alpine"}, uri: "docker://alpine", output: "alpine_latest.sif"},
		{args: []string{"docker://quay.io/a/b:1.0"}, uri: "docker://quay.io/a/b:1.0", output: "b_1.0.sif"},
		{args: []string{"alpine:3"}, o: pullOptions{oci: true}, uri: "alpine:3", output: "alpine_3.oci.sif"},
		{args: []string{"library://u/c/n:v1,v2"}, uri: "library://u/c/n:v1,v2", output: "n_v1.sif"},
		{args: []string{"https://host/dir/x.sif?token=1"}, uri: "https://host/dir/x.sif?token=1", output: "x.sif"},
		{args: []string{"https://host/"}},
		{args: []string{"oci-archive:dir/x.tar"}, uri: "oci-archive:dir/x.tar", output: "x.tar_latest.sif"},
		{args: []string{"x.sif", "docker://alpine"}, uri: "docker://alpine", output: "x.sif"},
		{args: []string{"docker://alpine", "x.sif"}, uri: "docker://alpine", output: "x.sif"},
		{args: []string{"docker://alpine", "out"}, uri: "docker://alpine", output: "out"},
		{args: []string{"alpine", "x.sif"}, uri: "alpine", output: "x.sif"},
		{args: []string{"x.sif", "alpine"}, uri: "alpine", output: "x.sif"},
		{args: []string{"out", "alpine"}, uri: "alpine", output: "out"},
		{args: []string{"copy.sif", "old.sif"}, uri: "old.sif", output: "copy.sif"},
		{args: []string{"docker://a", "docker://b"}},
		{args: []string{"docker://a"}, o: pullOptions{dir: "/d", name: "n"}, uri: "docker://a", output: "/d/n"},
		{args: []string{"docker://ann:secret@host/"}, uri: "docker://ann:secret@host/", output: "host_latest.sif"},
		{args: []string{"docker://a", "x"}, o: pullOptions{name: "n"}},
		{args: []string{"x.sif", "docker://a"}, o: pullOptions{dir: "d"}, uri: "docker://a", output: "d/x.sif"},
	} {
		uri, output, err := c.o.places(c.args)
		if uri != c.uri || output != c.output || (err != nil) != (c.uri == "") {
			t.Errorf("%q: image %q, output %q, %v; want %q, %q", c.args, uri, output, err, c.uri, c.output)
		}
	}
}

func TestPullRefusesToReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sif")
	o := pullOptions{}
	if err := o.vacant(path); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.vacant(path); err == nil {
		t.Error("an output that is there may be replaced")
	}
	o.force = true
	if err := o.vacant(path); err != nil {
		t.Errorf("with --force: %v", err)
	}
	if err := o.vacant(filepath.Dir(path)); err == nil {
		t.Error("a directory may be replaced")
	}
}

func TestPullReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	link, pipe, socket := filepath.Join(dir, "link"), filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	if err := errors.Join(os.Symlink("/dev/null", link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for path, want := range map[string]string{
		"/dev/null": "write /dev/null: it is a device, which an image can't replace; name a file",
		pipe:        "write " + pipe + ": it is a pipe, which an image can't replace; name a file",
		socket:      "write " + socket + ": it is a socket, which an image can't replace; name a file",
	} {
		for _, force := range []bool{false, true} {
			if err := (&pullOptions{force: force}).vacant(path); err == nil || err.Error() != want {
				t.Errorf("force %v: %v, want %s", force, err, want)
			}
		}
	}
	if err := (&pullOptions{force: true}).vacant(link); err != nil {
		t.Errorf("a link can't be replaced: %v", err)
	}
}

func TestPullSaysWhereNoFilesCanBeMade(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for output, want := range map[string]string{
		"/proc/z.sif":     "write /proc/z.sif: can't make files in /proc",
		gone + "/z.sif":   "write " + gone + "/z.sif: there is no directory " + gone + "; make it first: mkdir -p " + gone,
		"/dev/null/z.sif": "write /dev/null/z.sif: not a directory",
	} {
		_, err := newScratch(filepath.Dir(output))
		if err == nil {
			t.Fatalf("a directory was made in %s", filepath.Dir(output))
		}
		if err := noRoom(err, output); err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := (&pullOptions{tmp: "/proc"}).usable(); err == nil || err.Error() != "--tmpdir /proc: can't make files there" {
		t.Errorf("--tmpdir /proc: %v", err)
	}
}

func TestPullWritesWhatLayersCanBe(t *testing.T) {
	layered := func(kinds ...string) *source.Image {
		image := &source.Image{}
		for _, kind := range kinds {
			image.Layers = append(image.Layers, source.Layer{Descriptor: v1.Descriptor{MediaType: types.MediaType(kind)}})
		}
		return image
	}
	const tarball, squashed = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.sylabs.image.layer.v1.squashfs"
	flat, oci := reflect.ValueOf(convert.Flat).Pointer(), reflect.ValueOf(convert.OCISIF).Pointer()
	for _, c := range []struct {
		image *source.Image
		o     pullOptions
		want  uintptr // zero if it is refused
		told  bool
	}{
		{layered(tarball), pullOptions{}, flat, false},
		{layered(tarball), pullOptions{noOCI: true}, flat, false},
		{layered(tarball), pullOptions{oci: true}, oci, false},
		{layered(squashed), pullOptions{oci: true}, oci, false},
		{layered(tarball, squashed), pullOptions{}, oci, true},
		{layered(squashed), pullOptions{noOCI: true}, 0, false},
		{&source.Image{SIF: &v1.Descriptor{}}, pullOptions{noOCI: true}, flat, false},
	} {
		var stderr strings.Builder
		got, err := c.o.form(&stderr, c.image)
		if c.want == 0 {
			if !errors.Is(err, source.ErrUnsupported) || !strings.Contains(err.Error(), "leave out --no-oci") {
				t.Errorf("%+v: %v, want it to say what to do", c.o, err)
			}
			continue
		}
		if err != nil || reflect.ValueOf(got).Pointer() != c.want || (stderr.String() != "") != c.told {
			t.Errorf("%+v of %v: %v, told %q", c.o, c.image.Layers, err, stderr.String())
		}
	}
}

func TestFileThatIsHereIsNoRegistrysImage(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("b.sif", nil, 0o600), os.Mkdir("d.sif", 0o700), os.WriteFile("web", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]bool{"b.sif": true, "docker://b.sif": false, "./b.sif": false, "c.sif": false, "d.sif": false, "web": false} {
		if err := hereAlready(ref, "give its path"); (err != nil) != want {
			t.Errorf("hereAlready(%q) = %v, want an error: %v", ref, err, want)
		}
	}
	if err := hereAlready("b.sif", "give its path"); err.Error() != "image b.sif: a file of this name is here; give its path; if you mean a registry's image, say docker://b.sif" {
		t.Error(err)
	}
}

func TestPullPlatformIsAnArchitecture(t *testing.T) {
	for args, want := range map[string]string{
		"--platform=linux/arm64": "arm64", "--platform=linux/arm/v7": "arm", "--arch=s390x": "s390x", "--arch=arm64 --platform=linux/arm64": "arm64",
		"--platform=windows/amd64": "", "--platform=arm64": "", "--arch=amd64 --platform=linux/arm64": "", "--oci --no-oci": "",
	} {
		var o pullOptions
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.flags(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := o.complete(f); (err != nil) != (want == "") || err == nil && o.arch != want {
			t.Errorf("%s: %q, %v; want %q", args, o.arch, err, want)
		}
	}
}
