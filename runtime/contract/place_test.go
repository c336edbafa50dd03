package contract

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

// directoryOf is a directory with files; "-> x" is a link, a name with a slash at its end
// a directory.
func directoryOf(t *testing.T, files map[string]string) (string, Dir) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, link := strings.CutPrefix(content, "-> "); {
		case link:
			err = os.Symlink(target, at)
		case strings.HasSuffix(name, "/"):
			err = os.Mkdir(at, 0o755)
		default:
			err = os.WriteFile(at, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, NewDir(root)
}

func TestPlaceMakesWhatIsNotThere(t *testing.T) {
	dir, tree := directoryOf(t, nil)
	if err := Place(tree, Base(nil)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"tmp": os.ModeDir | os.ModeSticky | 0o777, "var": os.ModeDir | 0o755, "var/tmp": os.ModeDir | os.ModeSticky | 0o777,
		"etc/hosts": 0o644, ".singularity.d/actions/run": 0o755, "singularity": os.ModeSymlink | 0o777,
	} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s = %v, %v; want %v", name, info, err, want)
		}
	}
	if target, _ := os.Readlink(filepath.Join(dir, ".run")); target != ".singularity.d/actions/run" {
		t.Errorf(".run leads to %q, want the action", target)
	}
}

func TestPlaceKeepsWhatRuntimesCanLiveWith(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, tree := directoryOf(t, map[string]string{
		"home": "-> srv/home", "etc": "-> /elsewhere", "singularity": "a program", ".run": "-> x",
		".singularity.d/runscript": "-> " + outside, ".singularity.d/env": "-> /tmp", "tmp/": "",
	})
	if err := Place(tree, Base(nil)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"home": "srv/home", "etc": "/elsewhere", ".run": ".singularity.d/actions/run"} {
		if got, _ := os.Readlink(filepath.Join(dir, name)); got != want {
			t.Errorf("%s leads to %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "singularity"): "a program", outside: "mine", filepath.Join(dir, ".singularity.d/runscript"): noRunscript,
	} {
		if got, _ := os.ReadFile(name); string(got) != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if info, err := os.Lstat(filepath.Join(dir, ".singularity.d/env")); err != nil || !info.IsDir() {
		t.Errorf("env = %v, %v; want a directory in place of the link", info, err)
	}
}

func TestMissingLeavesTheBasesOwn(t *testing.T) {
	dir, tree := directoryOf(t, map[string]string{".singularity.d/runscript": "own", ".run": "-> own"})
	if err := Place(tree, Missing(Base(nil))); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, ".singularity.d/runscript")); string(got) != "own" {
		t.Errorf("runscript = %q, want the base's", got)
	}
	if got, _ := os.Readlink(filepath.Join(dir, ".run")); got != "own" {
		t.Errorf(".run leads to %q, want the base's", got)
	}
	if _, err := os.Stat(filepath.Join(dir, ".singularity.d/startscript")); err != nil {
		t.Errorf("startscript: %v, want a new one", err)
	}
}

func TestPlaceSaysWhatIsInTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"directory": {map[string]string{".singularity.d/runscript/": ""}, "the image has a directory at /.singularity.d/runscript, where a file must be"},
		"link":      {map[string]string{"scif": "-> /data"}, "the image has no directory at /scif/apps, where /scif/apps/x must be"},
	} {
		t.Run(name, func(t *testing.T) {
			_, tree := directoryOf(t, c.files)
			err := Place(tree, append(Base(nil), Regular("scif/apps/x", 0o644, "")))
			if !errors.Is(err, ErrInTheWay) || err.Error() != c.want {
				t.Errorf("Place() = %v, want %s", err, c.want)
			}
		})
	}
}
