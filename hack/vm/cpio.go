package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// archive writes the "newc" cpio format, which the kernel unpacks at boot. It
// makes the directories above a file by itself.
type archive struct {
	w     io.Writer
	made  map[string]bool
	inode int
	err   error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, made: map[string]bool{".": true, "/": true}}
}

// file adds a regular file of the given content.
func (a *archive) file(name string, perm fs.FileMode, content string) {
	a.entry(name, 0o100000|uint32(perm.Perm()), 0, 0, int64(len(content)), strings.NewReader(content))
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	a.entry(name, 0o120777, 0, 0, int64(len(target)), strings.NewReader(target))
}

// device adds a character device.
func (a *archive) device(name string, major, minor uint32) {
	a.entry(name, 0o020666, major, minor, 0, nil)
}

func (a *archive) dir(name string) {
	name = path.Clean(name)
	if !a.made[name] {
		a.made[name] = true
		a.entry(name, 0o040755, 0, 0, 0, nil)
	}
}

// copy adds a file or directory tree of the host. Links on the way to it are
// followed, those in a tree are kept.
func (a *archive) copy(name, host string) error {
	host, err := filepath.EvalSymlinks(host)
	if err != nil {
		return err
	}
	return filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		switch {
		case d.IsDir():
			a.dir(to)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			a.link(to, target)
		case d.Type().IsRegular():
			return a.copyFile(to, p)
		}
		return a.err
	})
}

func (a *archive) copyFile(name, host string) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // Opened for reading.
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() >= 1<<32 {
		return fmt.Errorf("%s: too large for an initramfs", host)
	}
	a.entry(name, 0o100000|uint32(st.Mode().Perm()), 0, 0, st.Size(), io.LimitReader(f, st.Size()))
	return a.err
}

func (a *archive) entry(name string, mode, major, minor uint32, size int64, content io.Reader) {
	name = path.Clean("/" + name)
	if parent := path.Dir(name); !a.made[parent] {
		a.dir(parent)
	}
	a.inode++
	a.header(name[1:], a.inode, mode, major, minor, size)
	if content != nil {
		a.write(content, size)
	}
}

func (a *archive) header(name string, inode int, mode, major, minor uint32, size int64) {
	// Inode, mode, uid, gid, links, time, size, device, device number, length of name, checksum.
	text := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0, name)
	a.write(strings.NewReader(text), int64(len(text)))
}

// write writes n bytes and fills up to a multiple of four.
func (a *archive) write(r io.Reader, n int64) {
	if a.err != nil {
		return
	}
	if got, err := io.Copy(a.w, r); err != nil || got != n {
		a.err = fmt.Errorf("write archive: %d of %d bytes: %w", got, n, err)
		return
	}
	_, a.err = a.w.Write(make([]byte, -n&3))
}

// close ends the archive and returns the first error there was.
func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0, 0, 0, 0)
	return a.err
}
