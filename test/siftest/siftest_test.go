package siftest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/sif"
)

func TestBuildGivesTheSameBytesForTheSameOptions(t *testing.T) {
	a, err := os.ReadFile(Build(t, Web("hello")))
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir() + "/again.sif"
	if err := Write(t.Context(), out, Web("hello")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("two builds differ (%d and %d bytes)", len(a), len(b))
	}
}

func TestWriteTreeFollowsTheFileSystemContract(t *testing.T) {
	if _, err := findBusybox(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir() + "/root"
	o := Options{
		Busybox: true, Environment: "export PORT=9000",
		Apps:  map[string]App{"pdf": {Runscript: "echo $SCIF_APPNAME", Environment: "export CLIENT=1"}},
		Files: map[string]string{"/opt/run": "#!/bin/sh\n", "data/": "", "link": "-> /opt/run"},
	}
	if err := WriteTree(dir, o); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		".singularity.d/runscript": 0o755, ".singularity.d/labels.json": 0o644, "opt/run": 0o755,
		"data": os.ModeDir | 0o755, "tmp": os.ModeDir | os.ModeSticky | 0o777, "bin/sh": os.ModeSymlink | 0o777,
		"link": os.ModeSymlink | 0o777, "scif/data/pdf/output": os.ModeDir | 0o755, "etc/hosts": 0o644,
	} {
		info, err := os.Lstat(dir + "/" + name)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
}

func TestEnvironmentScriptsRunAnApp(t *testing.T) {
	bb, err := findBusybox()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir() + "/root"
	if err := WriteTree(dir, Options{Apps: map[string]App{"pdf": {Environment: "export CLIENT=1"}}}); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(`for s in DIR/.singularity.d/env/*.sh; do . $s; done; echo "$SCIF_APPDATA_pdf $PATH"`, "DIR", dir)
	out, err := exec.CommandContext(t.Context(), bb, "sh", "-euc", "LD_LIBRARY_PATH=; "+script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "/scif/data/pdf /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	if string(out) != want {
		t.Errorf("the environment scripts give %q, want %q", out, want)
	}
}

func TestWriteTreeRefusesAPathOutsideTheImage(t *testing.T) {
	err := WriteTree(t.TempDir()+"/root", Options{Files: map[string]string{"../../escape": "x"}})
	if err == nil {
		t.Error("WriteTree wrote outside its directory")
	}
}

func TestBuildOCIStacksLayers(t *testing.T) {
	f, err := sif.Open(BuildOCI(t, OCIOptions{
		Busybox: true, Config: `{"Cmd": ["sh"]}`,
		Layers: []map[string]string{{"a": "lower"}, {"a": "upper"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	image, err := f.Image()
	if err != nil || len(image.Extents) != 3 || image.Native || len(image.Config.Cmd) != 1 {
		t.Errorf("Image = %+v, %v; want three layers and a command", image, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestBuildOCINamesItsLayersInItsConfig(t *testing.T) {
	text, err := os.ReadFile(BuildOCI(t, OCIOptions{Layers: []map[string]string{{"a": "lower"}, {"a": "upper"}}}))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"diff_ids":\["(sha256:[0-9a-f]{64})","(sha256:[0-9a-f]{64})"\]`).FindSubmatch(text)
	if found == nil {
		t.Fatal("want a config with the diff_ids of two layers")
	}
	for _, digest := range found[1:] {
		if !bytes.Contains(text, append([]byte(`.squashfs","digest":"`), digest...)) {
			t.Errorf("no layer of the manifest is %s", digest)
		}
	}
}

func TestBuildMakesANativeImage(t *testing.T) {
	f, err := sif.Open(Build(t, Options{Busybox: true, Definition: "Bootstrap: scratch\n", Labels: map[string]string{"k": "v"}}))
	if err != nil {
		t.Fatal(err)
	}
	image, err := f.Image()
	if err != nil || len(image.Extents) != 1 || !image.Native {
		t.Errorf("Image = %+v, %v; want one partition", image, err)
	}
	if labels, err := f.Labels(); err != nil || labels["k"] != "v" {
		t.Errorf("Labels = %v, %v", labels, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestImageIsKeptForOtherTestBinaries(t *testing.T) {
	t.Setenv(imagesEnv, t.TempDir())
	packs := 0
	for range 2 {
		text, err := kept([32]byte{1}, func() ([]byte, error) { packs++; return []byte("image"), nil })
		if err != nil || string(text) != "image" {
			t.Errorf("kept() = %q, %v, want the image", text, err)
		}
	}
	if packs != 1 {
		t.Errorf("packed %d times, want once", packs)
	}
}
