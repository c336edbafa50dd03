package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

// fuseReads compares siflet-fuse with the squashfuse of the machine, if there is one, by what
// they take to read images of which nothing is in memory yet.
func fuseReads(ctx context.Context, b *bench) (results []result, err error) {
	dir := filepath.Join(b.dir, "fuse-images")
	if err := fuseTrees(dir); err != nil {
		return nil, err
	}
	theirs, _ := exec.LookPath("squashfuse_ll")
	for _, c := range []struct {
		name, tree, compression string
		read                    func(root string) error
	}{
		{"read a big file (gzip)", "big", "gzip", readAll},
		{"read a big file (zstd)", "big", "zstd", readAll},
		{"find 20000 files", "many", "gzip", func(root string) error { return walk(root, func(string, fs.DirEntry) error { return nil }) }},
		{"stat 20000 files", "many", "gzip", func(root string) error {
			return walk(root, func(_ string, e fs.DirEntry) error { _, err := e.Info(); return err })
		}},
		{"read 5000 small files (gzip)", "small", "gzip", readAll},
		{"read 5000 small files (zstd)", "small", "zstd", readAll},
	} {
		image := filepath.Join(dir, c.tree+"."+c.compression)
		args := []string{filepath.Join(dir, c.tree), image, "-comp", c.compression, "-noappend", "-quiet", "-no-progress"}
		if out, err := exec.CommandContext(ctx, "mksquashfs", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("mksquashfs: %w: %s", err, out)
		}
		taken := map[string][]time.Duration{}
		const some = 7
		for range some { // in turn
			for _, server := range []string{filepath.Join(b.bin, "siflet-fuse"), theirs} {
				if server == "" {
					continue
				}
				d, err := fuseRead(ctx, server, image, filepath.Join(dir, "mount"), c.read)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", c.name, server, err)
				}
				taken[server] = append(taken[server], d)
			}
		}
		results = append(results, result{
			Name: "siflet-fuse: " + c.name, Value: median(taken[filepath.Join(b.bin, "siflet-fuse")]), Unit: "ms",
			Goal: median(taken[theirs]), Note: "goal: squashfuse_ll",
		})
	}
	return results, os.RemoveAll(dir)
}

// fuseRead has a server serve an image and says what reading it took.
func fuseRead(ctx context.Context, server, image, at string, read func(root string) error) (taken time.Duration, err error) {
	cmd, err := startFUSE(ctx, server, image, at)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(at, unix.MNT_DETACH), cmd.Wait()) }()
	if _, err := os.Stat(filepath.Join(at, ".")); err != nil { // it has started
		return 0, err
	}
	began := time.Now()
	err = read(at)
	return time.Since(began), err
}

func startFUSE(ctx context.Context, server, image, at string) (*exec.Cmd, error) {
	mount, device, err := linux.NewFUSE(linux.Attr{})
	if err != nil {
		return nil, err
	}
	defer linux.Close(mount)
	dev := os.NewFile(uintptr(device), "/dev/fuse")
	defer dev.Close() //nolint:errcheck // the server's
	to, err := linux.Open(at, linux.OPath)
	if err != nil {
		return nil, err
	}
	defer linux.Close(to)
	if err := linux.MoveMount(mount, to); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, server, "-f", "-o", "offset=0", image, "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{dev}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, unix.Unmount(at, unix.MNT_DETACH))
	}
	return cmd, nil
}

func walk(root string, do func(path string, e fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return do(path, e)
	})
}

func readAll(root string) error {
	return walk(root, func(path string, e fs.DirEntry) error {
		if e.IsDir() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	})
}

// fuseTrees makes what is packed: a big file, 20000 names and 5000 small files.
func fuseTrees(dir string) error {
	const big, names, small, mean = 64 << 20, 20_000, 5000, 3000
	c, rng := newContent(), rand.New(rand.NewPCG(3, 4))
	write := func(name string, size, serial int) error {
		data := make([]byte, size)
		c.fill(data, uint64(serial)) //nolint:gosec // not negative
		path := filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600))
	}
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "mount"), 0o755), write("big/file", big, 0))
	for i := 0; i < names && err == nil; i++ {
		err = write(fmt.Sprintf("many/d%d/e%d/file%05d", i/1000, i/50, i), i%7, i)
	}
	for i := 0; i < small && err == nil; i++ {
		err = write(fmt.Sprintf("small/p%d/m%04d.py", i/40, i), int(rng.ExpFloat64()*mean), i)
	}
	return err
}
