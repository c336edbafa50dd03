package checkpoint

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lay makes a directory of files, by name.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// files are those of a directory and below.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnpackGivesBackWhatPackTook(t *testing.T) {
	want := map[string]string{
		ConfigFile: `{"id":"1","rootfsImageRef":"sha256:1"}`, SpecFile: "{}", "checkpoint/pages-1.img": "memory", DiffFile: "diff", LogFile: "log",
	}
	all := map[string]string{"other": "is left out", "work/pid": "1"}
	maps.Copy(all, want)
	var packed bytes.Buffer
	if err := Pack(&packed, lay(t, all)); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(lay(t, map[string]string{"a.tar": packed.String()}), "a.tar")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !IsArchive(f) {
		t.Error("IsArchive() = false")
	}
	dir := t.TempDir()
	if err := Unpack(&packed, dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("unpacked (-want +got):\n%s", diff)
	}
	if c, err := ReadConfig(dir); err != nil || c.RootfsImageRef != "sha256:1" {
		t.Errorf("ReadConfig() = %v, %v", c, err)
	}
}

func TestUnpackKeepsToItsDirectory(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "../config.dump", Typeflag: tar.TypeReg},
		{Name: "/etc/passwd", Typeflag: tar.TypeReg},
		{Name: "checkpoint/../../evil", Typeflag: tar.TypeReg},
		{Name: "checkpoint/sub/evil", Typeflag: tar.TypeReg},
		{Name: "checkpoint", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "checkpoint/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "checkpoint/device", Typeflag: tar.TypeChar},
		{Name: "./checkpoint/good.img", Typeflag: tar.TypeReg},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	above := t.TempDir()
	dir := filepath.Join(above, "in")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(&b, dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"in/checkpoint/good.img": ""}, files(t, above)); diff != "" {
		t.Errorf("unpacked (-want +got):\n%s", diff)
	}
}

func TestUnpackRefusesWhatIsNoArchive(t *testing.T) {
	twice := new(bytes.Buffer)
	w := tar.NewWriter(twice)
	for range 2 {
		if err := w.WriteHeader(&tar.Header{Name: ConfigFile, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(t.TempDir(), "sparse")
	if err := errors.Join(os.Mkdir(sparse, 0o700), os.WriteFile(filepath.Join(sparse, ConfigFile), nil, 0o600),
		os.Truncate(filepath.Join(sparse, ConfigFile), 64<<20)); err != nil {
		t.Fatal(err)
	}
	holes, err := exec.Command("tar", "-C", sparse, "--sparse", "--format=posix", "-c", ConfigFile).Output() // 64 MB in 10 kB
	if err != nil || len(holes) > 1<<20 {
		t.Fatal(len(holes), err)
	}
	for name, text := range map[string]string{"a sparse file": string(holes), "noise": strings.Repeat("noise", 1000), "cut short": twice.String()[:700], "a file twice": twice.String()} {
		if err := Unpack(strings.NewReader(text), t.TempDir()); err == nil {
			t.Errorf("Unpack() of %s succeeded", name)
		}
	}
}

func TestReadPodKeepsToItsDirectory(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":1,"containers":{"a":"1.tar"}}`:       "",
		`{"version":2,"containers":{"a":"1.tar"}}`:       "version 2",
		`{"version":1,"containers":{}}`:                  "no container",
		`{"version":1,"containers":{"a":"../1.tar"}}`:    "not the name of a file",
		`{"version":1,"containers":{"a":"/etc/passwd"}}`: "not the name of a file",
		`{"version":1,"containers":{"a":"b/1.tar"}}`:     "not the name of a file",
		`{`: "EOF",
	} {
		dir := lay(t, map[string]string{PodFile: text})
		p, err := ReadPod(dir)
		if want == "" && (err != nil || p.Containers["a"] != filepath.Join(dir, "1.tar")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ReadPod(%s) = %v, %v; want %q", text, p, err, want)
		}
	}
}

func TestComplaintsAreTheLastErrors(t *testing.T) {
	log := "(00.1) Error (criu/sockets.c:209): sockets: Diag module missing (-2)\n(00.2) Warn (x): y\n" +
		"(00.3) Error (criu/a.c:1): first\n(00.4) Error (criu/a.c:2): second\n(00.5) Error (criu/a.c:3): third\n(00.6) Error (criu/a.c:4): fourth\n"
	if got, want := complaints(strings.NewReader(log)), "second; third; fourth"; got != want {
		t.Errorf("complaints() = %q, want %q", got, want)
	}
	if Complaints(filepath.Join(t.TempDir(), "none")) != "" {
		t.Error("Complaints() without a log says something")
	}
}
