package pull_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree is a directory's content by path, "." being itself.
type tree map[string]map[string]string

// walk reads a tree, leaving out the directories of skip with all in them. What one
// sees of an entry: its type, permissions, owner, time in seconds, attributes; a
// file's size, content and the first of its names; a link's target; a device.
func walk(t *testing.T, root string, skip ...string) tree {
	t.Helper()
	all := tree{}
	first := map[[2]uint64]string{}
	err := filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if slices.Contains(skip, name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		all[name], err = look(path, name, first)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func look(path, name string, first map[[2]uint64]string) (map[string]string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, err
	}
	seen := map[string]string{
		"mode": fmt.Sprintf("%o", st.Mode), "owner": fmt.Sprintf("%d:%d", st.Uid, st.Gid), "time": strconv.FormatInt(st.Mtim.Sec, 10),
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		inode := [2]uint64{st.Dev, st.Ino}
		if first[inode] == "" {
			first[inode] = name
		}
		seen["links"], seen["same as"] = strconv.FormatUint(st.Nlink, 10), first[inode]
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		sum, err := sumOf(path)
		if err != nil {
			return nil, err
		}
		seen["size"], seen["content"] = strconv.FormatInt(st.Size, 10), sum
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		seen["target"] = target
	case unix.S_IFCHR, unix.S_IFBLK:
		seen["device"] = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return seen, attributes(path, seen)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func attributes(path string, seen map[string]string) error {
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(list[:n], "\x00"), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
		seen[string(name)] = fmt.Sprintf("%q", value[:n])
	}
	return nil
}

// compare reports where two trees differ, except where allowed says they may; what
// is "" is there on one side only.
func compare(t *testing.T, what string, got, want tree, allowed func(path, what string) bool) {
	t.Helper()
	var differences []string
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, path := range slices.Sorted(maps.Keys(names)) {
		a, b := got[path], want[path]
		if a == nil || b == nil {
			if !allowed(path, "") {
				differences = append(differences, fmt.Sprintf("%q: %v, want %v", path, a, b))
			}
			continue
		}
		fields := maps.Clone(a)
		maps.Copy(fields, b)
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if a[field] != b[field] && !allowed(path, field) {
				differences = append(differences, fmt.Sprintf("%q: %s is %s, want %s", path, field, a[field], b[field]))
			}
		}
	}
	if len(differences) != 0 {
		const some = 40
		t.Errorf("%s: %d differences in %d entries:\n%s", what, len(differences), len(names),
			strings.Join(differences[:min(some, len(differences))], "\n"))
	}
}

// places are those in a container that are the runtime's and not the image's: its own
// file systems and files, and the image's volume.
func places() []string {
	return []string{"proc", "sys", "dev", "etc/hosts", "etc/resolv.conf", "etc/hostname", "data"}
}

// checkMounts says whether there are mounts in a container elsewhere.
func checkMounts(t *testing.T, root string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(root), "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		at := strings.TrimPrefix(strings.Fields(line)[4], "/")
		if at != "" && !slices.ContainsFunc(places(), func(p string) bool { return at == p || strings.HasPrefix(at, p+"/") }) {
			t.Errorf("a mount is in the container's way: %s", line)
		}
	}
}
