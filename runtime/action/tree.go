package action

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// maxLinks bounds the symbolic links followed in one path, as the kernel does.
const maxLinks = 40

var errTooLarge = errors.New("file is larger than 512 KiB")

// tree is a container's file system. Inside the container its root is "/" and
// the kernel resolves every path; any other root is that of a tree at rest, in
// which symbolic links are followed as if it were "/".
type tree string

func (t tree) live() bool { return t == "/" }

// host is the path on this machine that name has in the tree.
func (t tree) host(name string, follow bool) (string, error) {
	if t.live() {
		return name, nil
	}
	rest := strings.Split(path.Clean("/"+name), "/")[1:]
	at, links := "/", 0
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(filepath.Join(string(t), next))
		if err != nil || (len(rest) == 0 && !follow) {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("too many levels of symbolic links")}
		}
		if !path.IsAbs(target) {
			target = path.Join(at, target)
		}
		rest = append(strings.Split(path.Clean("/"+target), "/")[1:], rest...)
		at = "/"
	}
	return filepath.Join(string(t), at), nil
}

func (t tree) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	p, err := t.host(name, true)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(p, flag, perm)
}

func (t tree) stat(name string, follow bool) (fs.FileInfo, error) {
	p, err := t.host(name, follow)
	if err != nil {
		return nil, err
	}
	if follow {
		return os.Stat(p)
	}
	return os.Lstat(p)
}

func (t tree) readDir(name string) ([]fs.DirEntry, error) {
	p, err := t.host(name, true)
	if err != nil {
		return nil, err
	}
	return os.ReadDir(p)
}

// read returns a whole regular file of at most maxScript bytes. It goes past
// package os, whose files cost three more system calls each.
func (t tree) read(name string) ([]byte, error) {
	p, err := t.host(name, true)
	if err != nil {
		return nil, err
	}
	// Not blocking: a FIFO must not hang its reader.
	fd, err := linux.Open(p, os.O_RDONLY|linux.ONonblock|linux.ONoctty)
	if err != nil {
		return nil, err
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err != nil {
		return nil, err
	}
	if !st.IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return linux.ReadAll(fd, maxScript)
}

// head returns what it can of the first 256 bytes, as much as the kernel looks
// at to tell how to execute a file.
func (t tree) head(name string) string {
	f, err := t.open(name, os.O_RDONLY|linux.ONonblock, 0)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // read only
	buf := make([]byte, 256)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	return string(buf[:n])
}

func (t tree) isDir(name string) bool {
	info, err := t.stat(name, true)
	return err == nil && info.IsDir()
}

// mountPoint says that something is mounted at name. Nothing is in a tree at rest.
func (t tree) mountPoint(name string) bool { return t.live() && linux.IsMountPoint(name) }

func (t tree) executable(name string) bool {
	info, err := t.stat(name, true)
	return err == nil && runs(info)
}

func runs(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Mode()&0o111 != 0 }

// lookPath finds an executable the way execvp does. A name with a slash is
// taken as it is, relative to dir.
func (t tree) lookPath(dir, searchPath, name string) (string, error) {
	absolute := func(p string) string {
		if path.IsAbs(p) {
			return p
		}
		return path.Join(dir, p)
	}
	if strings.Contains(name, "/") {
		info, err := t.stat(absolute(name), true)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", because(fs.ErrNotExist, "%q: no such file in the container", name)
		case err != nil:
			return "", fatalf("%q: %w", name, err)
		case info.IsDir():
			return "", because(fs.ErrPermission, "%q: is a directory", name)
		case info.Mode()&0o111 == 0:
			return "", because(fs.ErrPermission, "%q: not executable", name)
		}
		return name, nil
	}
	if name != "" {
		for elem := range strings.SplitSeq(searchPath, ":") {
			p := path.Join(absolute(elem), name)
			info, err := t.stat(p, true)
			switch {
			case err == nil && runs(info):
				return p, nil
			case errors.Is(err, linux.ENOTCONN): // nothing can be found: what serves the image has ended
				return "", fatalf("%q: %w", name, err)
			}
		}
	}
	return "", because(fs.ErrNotExist, "%q: executable file not found in $PATH", name)
}

// because makes an error of a kind that its text does not repeat.
func because(kind error, format string, args ...any) *Error {
	e := fatalf(format, args...)
	e.Err = kind
	return e
}
