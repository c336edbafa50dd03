package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/test/siftest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFindLooksWherePathsLead(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	check(t, os.MkdirAll(top+"/real/sub", 0o755))
	check(t, os.Mkdir(top+"/else", 0o755))
	for at, target := range map[string]string{
		"/dir": "real", "/real/up": "..", "/real/away": top + "/else", "/real/loop": "loop", "/else/back": "../dir/sub", "/real/gone": "sub/none/../x",
	} {
		check(t, os.Symlink(target, top+at))
	}
	dirs := NewDirs([]string{top + "/none", top + "/dir/"})
	for path, want := range map[string]string{
		"/real": "/real", "/dir": "/real", "/dir/sub/x": "/real/sub/x", "/else/back/x": "/real/sub/x", "/real/up/real/x": "/real/x",
		"/real/gone": "/real/sub/x", "/real/none/x": "/real/none/x",
		"/real/up": "", "/real/up/else": "", "/real/away": "", "/real/away/none": "", "/else": "", "/realx": "", "": "", "/none": "/none", "/nonex": "",
	} {
		got, err := dirs.Find(top + path)
		if want == "" {
			if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), top+path) {
				t.Errorf("Find(%s) = %s, %v, want a refusal", path, got, err)
			}
		} else if err != nil || got != top+want {
			t.Errorf("Find(%s) = %s, %v, want %s", path, got, err, top+want)
		}
	}
	if _, err := dirs.Find(top + "/real/loop/x"); err == nil || errors.Is(err, ErrDenied) {
		t.Errorf("Find(loop) = %v, want that it is one", err)
	}
	for _, all := range []*Dirs{nil, NewDirs(nil), NewDirs([]string{"/"})} {
		if got, err := all.Find(top + "/dir/x"); err != nil || got != top+"/real/x" {
			t.Errorf("Find without directories = %s, %v", got, err)
		}
	}
}

// A file may be replaced by a link when it was found to be where files may be.
func TestNoLinkIsFollowedToAnImageThatWasFound(t *testing.T) {
	path, other := siftest.BuildOCI(t, siftest.OCIOptions{Busybox: true}), siftest.BuildOCI(t, siftest.OCIOptions{Busybox: true})
	path, err := linkless(path)
	check(t, err)
	info, err := os.Lstat(path)
	check(t, err)
	if got, err := parseExact(path, info, ""); err != nil || got.Path != path {
		t.Fatalf("parseExact() = %v, %v", got, err)
	}
	check(t, os.Remove(path))
	check(t, os.Symlink(other, path))
	if got, err := parseExact(path, info, ""); !errors.Is(err, linux.ELOOP) {
		t.Errorf("parseExact(link) = %v, %v, want ELOOP", got, err)
	}
}
