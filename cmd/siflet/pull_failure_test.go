package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/convert"
)

func TestPullFailuresNameWhatAPersonNamed(t *testing.T) {
	full := errors.New("no space left on device")
	inFile := func(path string) error {
		return fmt.Errorf("create %s: %w", path, &fs.PathError{Op: "write", Path: path, Err: full})
	}
	for _, c := range []struct {
		uri  string
		err  error
		want string
	}{
		{"docker://debian", inFile("out/.siflet-pull-1/.image.sif.2"), "write out/x.sif: no space left on device"},
		{"docker://debian", inFile("/tmp/y/.file"), "write temporary files in /tmp/y: no space left on device; name another directory with --tmpdir"},
		{"docker://debian", inFile("/dev/x"), "pull docker://debian: create /dev/x: write /dev/x: no space left on device"},
		{"docker://debian", errors.New("layer 2: corrupt layer"), "pull docker://debian: layer 2: corrupt layer"},
	} {
		o := pullOptions{tmp: "/tmp/y"}
		if got := o.pullFailure(c.err, c.uri, "out/x.sif", "out/.siflet-pull-1").Error(); got != c.want {
			t.Errorf("of %v a person reads\n%s\nwant\n%s", c.err, got, c.want)
		}
	}
}

func TestPullFlagsNameWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")
	for _, c := range []struct {
		o    pullOptions
		want string
	}{
		{pullOptions{tmp: dir, auth: file}, ""},
		{pullOptions{tmp: gone}, "--tmpdir " + gone + ": can't write there: no such file or directory"},
		{pullOptions{tmp: file}, "--tmpdir " + file + ": can't write there: not a directory"},
		{pullOptions{auth: gone}, "--authfile " + gone + ": no such file or directory"},
		{pullOptions{auth: dir}, "--authfile " + dir + ": it is a directory; name the file in it"},
	} {
		err := c.o.usable()
		if (err != nil) != (c.want != "") || err != nil && err.Error() != c.want {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("something is left: %v, %v", entries, err)
	}
}

func TestPullWarnsOfWhatIsLost(t *testing.T) {
	var out strings.Builder
	warnLost(&out, convert.Lost{})
	warnLost(&out, convert.Lost{ACLs: 1})
	warnLost(&out, convert.Lost{ACLs: 2, Xattrs: map[string]int64{"system.y": 3, "system.x": 1}})
	want := "WARNING: 1 POSIX ACL can't be kept in a SIF file\n" +
		"WARNING: 2 POSIX ACLs can't be kept in a SIF file\n" +
		"WARNING: 1 extended attribute system.x can't be kept in a SIF file\n" +
		"WARNING: 3 extended attributes system.y can't be kept in a SIF file\n"
	if out.String() != want {
		t.Errorf("a person reads\n%s\nwant\n%s", out.String(), want)
	}
}
