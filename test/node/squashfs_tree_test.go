package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	sqfs "github.com/siflet/siflet/runtime/squashfs"
)

// packTree makes a file system of the tree at dir, with all of its metadata.
func packTree(tb testing.TB, dir string, o sqfs.Options) string {
	tb.Helper()
	return writeSquashfs(tb, o, func(w *sqfs.Writer) error { return addTree(w, dir) })
}

// writeSquashfs makes a file system in a file of its own.
func writeSquashfs(tb testing.TB, o sqfs.Options, fill func(w *sqfs.Writer) error) string {
	tb.Helper()
	f, err := os.CreateTemp(tb.TempDir(), "*.squashfs")
	must(tb, err)
	defer f.Close()
	w, err := sqfs.New(tb.Context(), f, o)
	must(tb, err)
	defer w.Abort()
	must(tb, fill(w))
	size, err := w.Close()
	must(tb, err)
	must(tb, f.Truncate(size))
	return f.Name()
}

func addTree(w *sqfs.Writer, dir string) error {
	seen := map[uint64]string{}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if first, ok := seen[st.Ino]; ok && st.Nlink > 1 && !d.IsDir() {
			return w.Link(name, first)
		}
		seen[st.Ino] = name
		xattrs, err := xattrsOf(path)
		if err != nil {
			return err
		}
		e := sqfs.Entry{
			Path: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid, ModTime: time.Unix(st.Mtim.Sec, 0),
			Size: st.Size, Xattrs: xattrs, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if e.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		if !d.Type().IsRegular() {
			return w.Add(e, nil)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return w.Add(e, f)
	})
}

func xattrsOf(path string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return nil, err
	}
	attrs, value := map[string]string{}, make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		m, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", name, path, err)
		}
		attrs[name] = string(value[:m])
	}
	return attrs, nil
}

// treeOf describes each entry below dir in one line, and says which are one
// inode. The sizes of directories are their file system's own business.
func treeOf(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	tree, first := map[string]string{}, map[uint64]string{}
	must(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		name, rerr := filepath.Rel(dir, path)
		xattrs, xerr := xattrsOf(path)
		if err := errors.Join(unix.Lstat(path, &st), rerr, xerr); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d mtime %d links %d xattrs %q", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Nlink, xattrs)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			sum, err := hashFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size %d %s", st.Size, sum)
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " to " + to
		case unix.S_IFBLK, unix.S_IFCHR:
			line += fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			line += " is " + first[st.Ino]
		}
		tree[name] = line
		return nil
	}))
	return tree
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
