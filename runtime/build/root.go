package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
)

// Layer is a file system that a base consists of.
type Layer struct {
	// Path is the file it is in, at Offset, of Size bytes, or a directory.
	Path         string
	Offset, Size int64
	// FS is "squashfs", "ext3" or "directory".
	FS string
}

// MountFunc mounts size bytes of a file from offset on, read-only, at a directory.
type MountFunc func(name, fsType string, offset, size int64, at string) error

// root is the root file system of a stage, mounted in the process's own mount namespace.
type root struct {
	// dir is the stage's directory, path where the root is: dir/root.
	dir, path string
	// fd is the root alone: what a script mounted in there is not seen through it.
	fd int
	// held are descriptors that keep layers where they are.
	held      []*os.File
	mountFile MountFunc
}

// newRoot mounts layers, lowest first, with room for changes. Without any the root is
// what is in dir/root. dir is the stage's.
func newRoot(ctx context.Context, dir string, layers []Layer, mount MountFunc) (*root, error) {
	r := &root{dir: dir, path: filepath.Join(dir, "root"), fd: -1, mountFile: mount}
	if mount == nil {
		r.mountFile = linux.MountFile
	}
	for _, name := range []string{"upper", "work", "lower"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := r.mount(ctx, layers); err != nil {
		return nil, errors.Join(err, r.close())
	}
	at, err := linux.Open(r.path, linux.OPath|linux.ODirectory)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	defer linux.Close(at)
	if r.fd, err = linux.OpenTree(at, "", false); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// close lets go of the root. What is mounted goes with the directory.
func (r *root) close() error {
	linux.Close(r.fd)
	r.fd = -1
	var err error
	for _, f := range r.held {
		err = errors.Join(err, f.Close())
	}
	r.held = nil
	return err
}

func (r *root) mount(ctx context.Context, layers []Layer) error {
	if len(layers) == 0 {
		return nil
	}
	var names []string
	for i, l := range layers {
		at, err := r.layer(i, l)
		if err != nil {
			return fmt.Errorf("mount layer %d: %w", i+1, err)
		}
		defer at.Close() //nolint:errcheck // open for its name only
		names = append([]string{linux.DescriptorPath(at)}, names...)
	}
	top, err := topOf(names[0])
	if err != nil {
		return err
	}
	upper, err := os.Open(filepath.Join(r.dir, "upper"))
	if err != nil {
		return err
	}
	defer upper.Close() //nolint:errcheck // open for its name only
	work, err := os.Open(filepath.Join(r.dir, "work"))
	if err != nil {
		return err
	}
	defer work.Close() //nolint:errcheck // open for its name only
	// The root of the file system is the upper layer's.
	err = linux.CopyOwner(top, int(upper.Fd()))
	if linux.InUserNamespace() && errors.Is(err, linux.EINVAL) {
		err = linux.CopyMode(top, int(upper.Fd())) // who owns it is not mapped
	}
	if err != nil {
		return err
	}
	options := []string{"upperdir=" + linux.DescriptorPath(upper), "workdir=" + linux.DescriptorPath(work), "metacopy=off"}
	if linux.InUserNamespace() {
		options[2] = "userxattr" // which implies it
	}
	// With an index a file of the base has one inode number whatever is done to it, its
	// hard links too. The kernel leaves it out where it can't: above several squashfs.
	fd, err := linux.Overlay{Lower: names, Options: append(options, "index=on")}.MountAt(r.path, linux.Attr{Propagation: linux.Private})
	if err != nil {
		fd, err = linux.Overlay{Lower: names, Options: append(options, "index=off")}.MountAt(r.path, linux.Attr{Propagation: linux.Private})
	}
	if err == nil {
		linux.Close(fd)
		return nil
	}
	if !errors.Is(err, linux.EINVAL) {
		return fmt.Errorf("mount the base: %w", err)
	}
	// The file system of the temporary directory can't hold what an overlay writes.
	return r.copyLayers(ctx, names)
}

func topOf(name string) (linux.Stat, error) {
	fd, err := linux.Open(name, linux.OPath)
	if err != nil {
		return linux.Stat{}, err
	}
	defer linux.Close(fd)
	return linux.Fstat(fd)
}

// layer mounts a layer and opens it.
func (r *root) layer(i int, l Layer) (*os.File, error) {
	at := l.Path
	if l.FS != "directory" {
		at = filepath.Join(r.dir, "lower", strconv.Itoa(i))
		if err := os.Mkdir(at, 0o755); err != nil {
			return nil, err
		}
		if err := r.mountFile(l.Path, l.FS, l.Offset, l.Size, at); err != nil {
			return nil, err
		}
		if l.FS == "ext3" {
			if upper := filepath.Join(at, "upper"); isDirectory(upper) {
				at = upper
			}
		}
	}
	dir, err := os.Open(at)
	if err != nil {
		return nil, err
	}
	if l.FS == "directory" {
		// Whoever takes unused ones away asks for the lock first.
		hold, err := os.Open(at)
		if err != nil {
			return nil, errors.Join(err, dir.Close())
		}
		_, _ = linux.TryShare(hold)
		r.held = append(r.held, hold)
	}
	return dir, nil
}

func isDirectory(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// copyLayers makes the root a copy of what an overlay would show.
func (r *root) copyLayers(ctx context.Context, names []string) error {
	from, err := linux.Open(names[0], linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	if len(names) > 1 {
		merged := filepath.Join(r.dir, "lower", "merged")
		if err := os.Mkdir(merged, 0o755); err != nil {
			return err
		}
		linux.Close(from)
		if from, err = (linux.Overlay{Lower: names}).MountAt(merged, linux.Attr{Readonly: true}); err != nil {
			return fmt.Errorf("mount the base: %w", err)
		}
	}
	defer linux.Close(from)
	to, err := linux.Open(r.path, linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(to)
	_, err = copyTree(ctx, from, to, false)
	return err
}
