package build

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix" //nolint:depguard // devices and attributes for the tests

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// makeTree makes files of their content, directories (a slash at the end) and links ("-> target").
func makeTree(t *testing.T, dir string, tree map[string]string) {
	t.Helper()
	for name, content := range tree {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		case link:
			must(t, os.Symlink(target, path))
		default:
			must(t, os.WriteFile(path, []byte(content), 0o644))
		}
	}
}

// readTree is the opposite, without directories that hold something.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			if inside, _ := os.ReadDir(path); len(inside) == 0 {
				tree[name+"/"] = ""
			}
		case e.Type() == os.ModeSymlink:
			target, _ := os.Readlink(path)
			tree[name] = "-> " + target
		default:
			text, err := os.ReadFile(path)
			tree[name] = string(text)
			return err
		}
		return nil
	}))
	return tree
}

func TestFilesAreCopiedAsTheySay(t *testing.T) {
	source := map[string]string{
		"one": "1", "two": "2", "dir/three": "3", "dir/deep/four": "4", "dir/link": "-> three", "dir/.hidden": "h", "link": "-> one",
		"dirlink": "-> dir", "with space": "s", "star*": "*",
	}
	for _, c := range []struct {
		name   string
		pair   definition.FilePair
		there  map[string]string
		follow bool
		want   map[string]string
	}{
		{"to a name", definition.FilePair{Source: "one", Target: "/a/b"}, nil, true, map[string]string{"a/b": "1"}},
		{"to a directory's name", definition.FilePair{Source: "one", Target: "/a/"}, nil, true, map[string]string{"a/one": "1"}},
		{"to a directory", definition.FilePair{Source: "one", Target: "/a"}, map[string]string{"a/": ""}, true, map[string]string{"a/one": "1"}},
		{"over a file", definition.FilePair{Source: "one", Target: "/a"}, map[string]string{"a": "longer"}, true, map[string]string{"a": "1"}},
		{"no target", definition.FilePair{Source: "dir/three"}, nil, true, map[string]string{"dir/three": "3"}},
		{"no target, upwards", definition.FilePair{Source: "../src/one"}, nil, true, map[string]string{"src/one": "1"}},
		{"a pattern", definition.FilePair{Source: "t*", Target: "/a"}, nil, true, map[string]string{"a": "2"}},
		{"a pattern, many", definition.FilePair{Source: "[ot]*", Target: "/a"}, nil, true, map[string]string{"a/one": "1", "a/two": "2"}},
		{"a pattern, no target", definition.FilePair{Source: "d*/t*"}, nil, true, map[string]string{"dir/three": "3", "dirlink/three": "3"}},
		{"a name like a pattern", definition.FilePair{Source: "star*", Target: "/a"}, nil, true, map[string]string{"a": "*"}},
		{"a space", definition.FilePair{Source: "with space", Target: "/a b"}, nil, true, map[string]string{"a b": "s"}},
		{
			"a directory",
			definition.FilePair{Source: "dir", Target: "/a"},
			nil, true,
			map[string]string{"a/three": "3", "a/deep/four": "4", "a/link": "3", "a/.hidden": "h"},
		},
		{
			"into a directory",
			definition.FilePair{Source: "dir", Target: "/a"},
			map[string]string{"a/old": "o"},
			true,
			map[string]string{"a/old": "o", "a/dir/three": "3", "a/dir/deep/four": "4", "a/dir/link": "3", "a/dir/.hidden": "h"},
		},
		{
			"from a stage",
			definition.FilePair{Source: "dir", Target: "/a/"},
			map[string]string{"a/dir/three": "old"},
			false,
			map[string]string{"a/dir/three": "3", "a/dir/deep/four": "4", "a/dir/link": "-> three", "a/dir/.hidden": "h"},
		},
		{"a link from a stage", definition.FilePair{Source: "link", Target: "/a"}, nil, false, map[string]string{"a": "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			makeTree(t, dir+"/src", source)
			makeTree(t, dir+"/root", c.there)
			must(t, os.MkdirAll(dir+"/root", 0o755))
			must(t, copierTo(t, dir, c.follow).pair(t.Context(), c.pair))
			if diff := cmp.Diff(c.want, readTree(t, dir+"/root")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// copierTo copies from the directory src of dir, or of the stage that is dir, to the root in it.
func copierTo(t *testing.T, dir string, follow bool) *copier {
	t.Helper()
	c := &copier{to: openDir(t, dir+"/root"), from: openDir(t, "/"), follow: follow, dir: dir + "/src"}
	if !follow {
		c.from, c.dir = openDir(t, dir+"/src"), "/"
	}
	return c
}

func TestCopiesStayInTheRoot(t *testing.T) {
	for _, c := range []struct{ name, target string }{
		{"an absolute link", "/absolute/new"},
		{"a link upwards", "/up/outside/new"},
		{"a link to a file outside", "/file"},
		{"dots", "/../../outside/new"},
		{"a link to a directory", "/absolute"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			makeTree(t, dir, map[string]string{
				"src/one": "1", "outside/precious": "p",
				"root/absolute": "-> " + dir + "/outside", "root/up": "-> ../../../../../../../../.." + dir, "root/file": "-> ../outside/precious",
			})
			// Whether there is an error does not matter.
			_ = copierTo(t, dir, true).pair(t.Context(), definition.FilePair{Source: "one", Target: c.target})
			want := map[string]string{"precious": "p"}
			if diff := cmp.Diff(want, readTree(t, dir+"/outside")); diff != "" {
				t.Errorf("outside of the root (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCopiesRefuseWhatMakesNoSense(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{
		"src/one": "1", "src/links/dangling": "-> nowhere", "src/loops/loop/up": "-> ..", "root/dir/": "", "root/file": "f", "src/dir/x/y": "y",
		"root/over/x": "a file",
	})
	must(t, unix.Mknod(dir+"/root/device", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	for _, c := range []struct {
		pair definition.FilePair
		want string
	}{
		{definition.FilePair{Source: "nothing", Target: "/a"}, "no such file or directory"},
		{definition.FilePair{Source: "n*", Target: "/a"}, "no such file or directory"},
		{definition.FilePair{Source: "links/dangling", Target: "/a"}, "no such file or directory"},
		{definition.FilePair{Source: "loops", Target: "/a"}, "a symlink there leads to a directory above it"},
		{definition.FilePair{Source: "one", Target: "/device"}, "a device, pipe or socket is there in the image"},
		{definition.FilePair{Source: "dir/x", Target: "/file"}, "not a directory"},
		{definition.FilePair{Source: "dir", Target: "/over/../"}, ""},
		{definition.FilePair{Source: "one", Target: "/file/below"}, "not a directory"},
		{definition.FilePair{Source: "[", Target: "/a"}, "syntax error in pattern"},
	} {
		err := copierTo(t, dir, true).pair(t.Context(), c.pair)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.pair, err, c.want)
		}
	}
}

func TestCopiesLeaveOutTheBuildItself(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{"src/one": "1", "src/tmp/work": "w", "root/": ""})
	c := copierTo(t, dir, true)
	st, err := topOf(dir + "/src/tmp")
	must(t, err)
	c.skip = inodeID{st.Dev, st.Ino}
	must(t, c.pair(t.Context(), definition.FilePair{Source: ".", Target: "/a"}))
	if diff := cmp.Diff(map[string]string{"a/one": "1"}, readTree(t, dir+"/root")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCopiesHavePermissionsAsCpGivesThem(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{"src/dir/program": "p", "root/": ""})
	must(t, os.Chmod(dir+"/src/dir/program", 0o777|os.ModeSetuid))
	must(t, os.Chown(dir+"/src/dir/program", 1000, 1000))
	must(t, os.Chmod(dir+"/src/dir", 0o777))
	old := linux.Umask(umask) // as a build does
	defer linux.Umask(old)
	must(t, copierTo(t, dir, true).pair(t.Context(), definition.FilePair{Source: "dir", Target: "/d"}))
	for name, want := range map[string]uint32{"d": unix.S_IFDIR | 0o775, "d/program": unix.S_IFREG | 0o775} {
		var st unix.Stat_t
		must(t, unix.Stat(dir+"/root/"+name, &st))
		if st.Mode != want || st.Uid != 0 {
			t.Errorf("%s: %o of %d, want %o of 0", name, st.Mode, st.Uid, want)
		}
	}
}

func TestArchitectureIsThatOfTheShell(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir := t.TempDir()
	makeTree(t, dir, map[string]string{"bin": "-> /usr/bin", "usr/bin/sh": "-> ../lib/shell", "usr/lib/shell": string(self[:1<<16]), "other/bin/sh": "#!"})
	if got := arch(openDir(t, dir)); !slices.Contains([]string{"amd64", "arm64", "riscv64", "s390x", "ppc64le"}, got) {
		t.Errorf("arch() = %q, want this machine's", got)
	}
	if got := arch(openDir(t, dir+"/other")); got != "" {
		t.Errorf("arch() of a script = %q, want none", got)
	}
}

func TestOutputRemembersItsEnd(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(t, err)
	other, err := os.OpenFile(filepath.Join(t.TempDir(), "other"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	o, err := newOutput(null, other)
	must(t, err)
	for i := range 30 {
		_, err = o.stdout.WriteString(strings.Repeat("x", i) + "\n")
		must(t, err)
	}
	said := o.close()
	if got := strings.Count(said, "\n    x"); got != lastLines {
		t.Errorf("%d lines, want %d: %q", got, lastLines, said)
	}
	if same, err := newOutput(null, null); err != nil || same.tail != nil || same.close() != "" {
		t.Errorf("what is seen already is remembered: %+v, %v", same, err)
	}
	must(t, errors.Join(null.Close(), other.Close()))
}
