package node

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	conv "github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/linux"
	sqfs "github.com/siflet/siflet/runtime/squashfs"
)

// layerStage is a place with mounts of its own, on tmpfs. It belongs to one thread.
type layerStage struct {
	tb     testing.TB
	dir    string
	n      int
	mounts []string
}

// stageLayers runs f where its mounts are nobody else's, and go with it.
func stageLayers(t *testing.T, f func(s *layerStage)) {
	t.Helper()
	needCaps(t, unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
	if out, err := exec.CommandContext(t.Context(), "tar", "--version").CombinedOutput(); err != nil || !strings.Contains(string(out), "GNU") {
		t.Skip("needs GNU tar")
	}
	dir := t.TempDir()
	able := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, and its namespace with the thread.
		goruntime.LockOSThread()
		must(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		s := &layerStage{tb: t, dir: dir}
		defer s.unmount()
		s.mount("layers", dir, "tmpfs", 0, "mode=755")
		if able = keepsXattrs(t, dir); able {
			f(s)
		}
	}()
	<-done
	if !able && !t.Failed() {
		t.Skip("needs a tmpfs with user's extended attributes, Linux 6.6")
	}
}

// keepsXattrs says whether files in dir can have user's extended attributes.
func keepsXattrs(t *testing.T, dir string) bool {
	t.Helper()
	err := unix.Setxattr(dir, "user.siflet-test", []byte("x"), 0)
	if errors.Is(err, unix.ENOTSUP) {
		return false
	}
	must(t, err)
	must(t, unix.Removexattr(dir, "user.siflet-test"))
	return true
}

func (s *layerStage) mount(source, dir, fs string, flags uintptr, options string) {
	s.tb.Helper()
	must(s.tb, unix.Mount(source, dir, fs, flags, options))
	s.mounts = append(s.mounts, dir)
}

// unmount ends what is mounted. If the directory under the tmpfs were removed while the
// namespace has it, the kernel would keep all of it: what is mounted on the tmpfs would
// go with the tmpfs, which waits for the loop devices of what is mounted on it.
func (s *layerStage) unmount() {
	s.tb.Helper()
	for _, dir := range slices.Backward(s.mounts) {
		if err := unix.Unmount(dir, 0); err != nil {
			s.tb.Errorf("unmount %s: %v", dir, err)
		}
	}
}

// path is a new name in the stage.
func (s *layerStage) path(what string) string {
	s.n++
	return filepath.Join(s.dir, fmt.Sprintf("%s%d", what, s.n))
}

func (s *layerStage) mkdir(what string) string {
	s.tb.Helper()
	dir := s.path(what)
	must(s.tb, os.Mkdir(dir, 0o755))
	return dir
}

// writing hands out a new file.
func (s *layerStage) writing(f func(w io.WriterAt)) string {
	s.tb.Helper()
	name := s.path("image")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	must(s.tb, err)
	defer file.Close()
	f(file)
	return name
}

// show mounts a squashfs.
func (s *layerStage) show(image string) string {
	s.tb.Helper()
	file, err := os.Open(image)
	must(s.tb, err)
	defer file.Close()
	st, err := file.Stat()
	must(s.tb, err)
	loop, err := linux.AttachLoop(int(file.Fd()), 0, st.Size(), false, "")
	must(s.tb, err)
	defer loop.Close()
	dir := s.mkdir("squashfs")
	s.mount(loop.Device(), dir, "squashfs", unix.MS_RDONLY, "")
	return dir
}

// stack overlays directories, lowest first, so that even the root is the highest's.
func (s *layerStage) stack(dirs []string) string {
	s.tb.Helper()
	lower := []string{s.mkdir("empty")}
	lower = append(lower, dirs...)
	slices.Reverse(lower)
	dir := s.mkdir("overlay")
	s.mount("overlay", dir, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":"))
	return dir
}

// converted is what conv.Convert makes of a tar, mounted.
func (s *layerStage) converted(blob []byte) (string, conv.Result) {
	s.tb.Helper()
	var res conv.Result
	image := s.writing(func(w io.WriterAt) {
		var err error
		res, err = conv.Convert(s.tb.Context(), bytes.NewReader(blob), "", w, conv.Options{})
		must(s.tb, err)
	})
	return s.show(image), res
}

// flat is what layer.Flat makes of layers, lowest first, mounted.
func (s *layerStage) flat(layers [][]byte) string {
	s.tb.Helper()
	image := s.writing(func(w io.WriterAt) {
		out, err := sqfs.New(s.tb.Context(), w, sqfs.Options{})
		must(s.tb, err)
		defer out.Abort()
		f := conv.NewFlat(out, s.dir, conv.Options{})
		for _, blob := range slices.Backward(layers) {
			_, err := f.Add(s.tb.Context(), bytes.NewReader(blob), "")
			must(s.tb, err)
		}
		_, err = out.Close()
		must(s.tb, err)
	})
	return s.show(image)
}

// extracted is a tar as GNU tar unpacks it, its whiteouts made overlayfs's.
func (s *layerStage) extracted(blob []byte) string {
	s.tb.Helper()
	dir := s.mkdir("extracted")
	cmd := exec.CommandContext(s.tb.Context(), "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner",
		"--same-owner", "-P", "-C", dir, "-xpf", "-")
	cmd.Stdin = bytes.NewReader(blob)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.tb.Fatalf("tar: %v\n%s", err, out)
	}
	whiteouts(s.tb, dir)
	described := map[string]time.Time{}
	for r := tar.NewReader(bytes.NewReader(blob)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(s.tb, err)
		if h.Typeflag == tar.TypeDir {
			described[filepath.Clean(h.Name)] = h.ModTime
		}
	}
	must(s.tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		must(s.tb, err)
		stamp, ok := described[name]
		if !ok {
			must(s.tb, os.Chown(path, 0, 0))
			must(s.tb, os.Chmod(path, 0o755))
			stamp = time.Unix(0, 0)
		}
		return os.Chtimes(path, stamp, stamp)
	}))
	return dir
}

// whiteouts turns the files that stand for them into what overlayfs knows.
func whiteouts(tb testing.TB, root string) {
	tb.Helper()
	var plain []string
	must(tb, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		dir, base := filepath.Split(path)
		switch {
		case err != nil:
			return err
		case base == ".wh..wh..opq":
			must(tb, os.Remove(path))
			return unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0)
		case strings.HasPrefix(base, ".wh."):
			plain = append(plain, path)
		}
		return nil
	}))
	isOpaque := func(dir string) bool {
		n, err := unix.Getxattr(dir, "trusted.overlay.opaque", nil)
		return err == nil && n > 0
	}
	for _, path := range plain {
		must(tb, os.Remove(path))
		dir, base := filepath.Split(path)
		hidden := filepath.Join(dir, strings.TrimPrefix(base, ".wh."))
		st, err := os.Lstat(hidden)
		inOpaque := false
		// The root's attribute means nothing to overlayfs, and so hides no whiteout's work.
		for at := filepath.Clean(dir); len(at) > len(root); at = filepath.Dir(at) {
			inOpaque = inOpaque || isOpaque(at)
		}
		switch {
		case err == nil && st.IsDir():
			must(tb, unix.Setxattr(hidden, "trusted.overlay.opaque", []byte("y"), 0))
		case err != nil && !inOpaque:
			must(tb, unix.Mknod(hidden, unix.S_IFCHR, 0))
		}
	}
}
