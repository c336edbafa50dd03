package node

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// seen is what can be seen of one name.
type seen struct {
	Mode, UID, GID uint32
	Time, Size     int64
	Rdev           uint64
	Target         string
	Hash           string
	Xattrs         map[string]string
	// Links is the first name of the same inode.
	Links string
}

// look sees everything in a directory. Times are as squashfs has them.
func look(tb testing.TB, root string) map[string]seen {
	tb.Helper()
	all, first := map[string]seen{}, map[[2]uint64]string{}
	must(tb, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if errors.Is(unix.Lstat(path, &st), unix.ENOENT) {
			return nil // a whiteout in a directory of one layer shows its name
		}
		must(tb, err)
		name, err := filepath.Rel(root, path)
		must(tb, err)
		e := seen{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid, Time: min(max(st.Mtim.Sec, 0), 1<<32-1),
			Rdev: st.Rdev, Xattrs: attributes(tb, path),
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			must(tb, err)
			e.Size, e.Hash = st.Size, fmt.Sprintf("%x", sha256.Sum256(data))
		case unix.S_IFLNK:
			e.Target, err = os.Readlink(path)
			must(tb, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			key := [2]uint64{st.Dev, st.Ino}
			if _, ok := first[key]; !ok {
				first[key] = name
			} else {
				e.Links = first[key]
			}
		}
		all[name] = e
		return nil
	}))
	return all
}

func attributes(tb testing.TB, path string) map[string]string {
	tb.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil // a squashfs that has none
	}
	must(tb, err)
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		if n, err := unix.Lgetxattr(path, name, value); name != "" && err == nil {
			all[name] = string(value[:n])
		}
	}
	return all
}

// compare tells how two trees differ.
func compare(tb testing.TB, got, want map[string]seen) {
	tb.Helper()
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, isGot := got[name]
		w, isWanted := want[name]
		switch {
		case !isGot:
			tb.Errorf("%.300q is missing", name)
		case !isWanted:
			tb.Errorf("%.300q should not be there", name)
		case fmt.Sprint(g) != fmt.Sprint(w):
			tb.Errorf("%.300q =\n%+v, want\n%+v", name, g, w)
		}
	}
}
