package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
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
