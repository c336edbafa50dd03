package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/squashfs"
)

// hello is the file of the images that are made to be tried.
const hello = "hello"

// greeting compresses well: what does not is stored as it is.
func greeting() []byte { return bytes.Repeat([]byte("siflet "), 4096) }

// compressions are those that siflet's own images have, and most others.
func compressions() map[string]squashfs.Compression {
	return map[string]squashfs.Compression{"gzip": squashfs.Gzip, "zstd": squashfs.Zstd, "lz4": squashfs.LZ4}
}

// writeImage makes an image in dir.
func writeImage(ctx context.Context, dir, name string) (path string, err error) {
	path = filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := squashfs.New(ctx, f, squashfs.Options{Compression: compressions()[name], Workers: 1})
	if err != nil {
		return "", err
	}
	defer w.Abort()
	text := greeting()
	if err := w.Add(squashfs.Entry{Path: hello, Mode: regular, Size: int64(len(text))}, bytes.NewReader(text)); err != nil {
		return "", err
	}
	size, err := w.Close()
	if err != nil {
		return "", err
	}
	return path, f.Truncate(size)
}

// regular is the st_mode of a file that all may read.
const regular = 0o100644

// scratch is a directory of the doctor's own in dir or, while that is not there, in the one
// that it will be made in.
func scratch(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return "", fmt.Errorf("%s is not a directory", dir)
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return os.MkdirTemp(dir, ".siflet-doctor-")
}

// discard takes a scratch directory away. What an overlay works in is closed even to its owner.
// Should something be left, it is small, and its name says whose it is.
func discard(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}

// nodeFiles tries what containers' root file systems are made of, as root.
func (m *Machine) nodeFiles(ctx context.Context) {
	dir, err := scratch(m.config.StateDir)
	if err != nil {
		m.problem("state directory", "make it writable: mount -o remount,rw, or name another one with state_dir", "%v", err)
		return
	}
	defer discard(dir)
	m.images(ctx, dir)
	m.judge(Problem, "overlay", "load the module: modprobe overlay; state_dir must be on a file system that an overlay can write to, such as ext4 or xfs",
		"works on "+m.config.StateDir, tryOverlay(dir))
	way, err := unprivileged.Find(unprivileged.Options{})
	if err == nil {
		err = way.NoFUSE
	}
	if err == nil {
		err = tryFUSE(ctx, dir, way.FUSE)
	}
	m.judge(Warning, "fuse", "users who are not root need it: modprobe fuse", "images can be served to users", err)
}

// images mounts one of each compression through a loop device.
func (m *Machine) images(ctx context.Context, dir string) {
	var fine []string
	for _, name := range []string{"gzip", "zstd", "lz4"} {
		path, err := writeImage(ctx, dir, name)
		if err != nil {
			m.problem("state directory", "", "%v", err)
			return
		}
		if err := m.tryImage(path, name == "gzip"); err != nil {
			if name == "gzip" {
				m.problem("images", squashfsNext(err), "%v", err)
				return
			}
			m.warn("images", squashfsNext(err), "images compressed with %s: %v", name, err)
			continue
		}
		fine = append(fine, name)
	}
	m.ok("images", "squashfs on loop devices: %s", strings.Join(fine, ", "))
}

// tryImage mounts an image and reads its file; the first one also with mapped ids.
func (m *Machine) tryImage(path string, first bool) error {
	image, err := linux.Open(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer linux.Close(image)
	size := linux.FD(image).Size()
	loop, err := linux.AttachLoop(image, 0, size, false, "")
	if err != nil {
		return fmt.Errorf("loop device: %w", err)
	}
	defer loop.Close()
	if first {
		m.ok("loop devices", "%s", loop.Device())
	}
	mount, err := linux.NewMount("squashfs", []string{"ro", "source=" + loop.Device()}, linux.Attr{Readonly: true})
	if err != nil {
		return err
	}
	defer linux.Close(mount)
	if err := readGreeting(mount); err != nil {
		return fmt.Errorf("squashfs: %w", err)
	}
	if first {
		m.judge(Warning, "user namespaces", "pods with a user namespace (hostUsers: false) need them; all others do without", "pods can have them",
			linux.ProbeMapping(image, size, "squashfs"))
	}
	return nil
}

func readGreeting(mount int) error {
	fd, err := linux.OpenAt(mount, hello, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	const limit = 1 << 20
	text, err := linux.ReadAll(fd, limit)
	if err == nil && !bytes.Equal(text, greeting()) {
		err = errors.New("what is read is not what was written")
	}
	return err
}

// tryOverlay makes an overlay that nobody sees, changes a file of its lower directory,
// removes another, and looks at what came of it.
func tryOverlay(dir string, options ...string) error {
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	for _, name := range []string{"kept", "removed"} {
		if err := os.WriteFile(filepath.Join(dir, "lower", name), []byte("before"), 0o600); err != nil {
			return err
		}
	}
	options = append([]string{
		"source=overlay", "lowerdir=" + filepath.Join(dir, "lower"), "upperdir=" + filepath.Join(dir, "upper"), "workdir=" + filepath.Join(dir, "work"),
	}, options...)
	mount, err := linux.NewMount("overlay", options, linux.Attr{})
	if err != nil {
		return err
	}
	defer linux.Close(mount)
	fd, err := linux.OpenAt(mount, "kept", os.O_WRONLY|os.O_TRUNC)
	if err == nil {
		err = linux.WriteAll(fd, []byte("after"))
		linux.Close(fd)
	}
	if err == nil {
		err = linux.Remove(mount, "removed")
	}
	if err != nil {
		return fmt.Errorf("write to an overlay: %w", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "upper", "kept")); err != nil || string(text) != "after" {
		return errors.Join(fmt.Errorf("an overlay did not keep a change, but %q", text), err)
	}
	if fd, err := linux.OpenAt(mount, "removed", os.O_RDONLY); err == nil {
		linux.Close(fd)
		return errors.New("an overlay still has a file that was removed")
	}
	return nil
}
