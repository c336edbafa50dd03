package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
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
	tb  testing.TB
	dir string
	n   int
}

// stageLayers runs f where its mounts are nobody else's, and go with it.
func stageLayers(t *testing.T, f func(s *layerStage)) {
	t.Helper()
	needCaps(t, unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("needs tar")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, and its mounts with the thread.
		goruntime.LockOSThread()
		must(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(t, unix.Mount("layers", dir, "tmpfs", 0, "mode=755"))
		f(&layerStage{tb: t, dir: dir})
	}()
	<-done
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
	loop, err := linux.AttachLoop(int(file.Fd()), 0, st.Size(), false)
	must(s.tb, err)
	defer loop.Close()
	dir := s.mkdir("squashfs")
	must(s.tb, unix.Mount(loop.Device(), dir, "squashfs", unix.MS_RDONLY, ""))
	return dir
}

// stack overlays directories, lowest first, so that even the root is the highest's.
func (s *layerStage) stack(dirs []string) string {
	s.tb.Helper()
	lower := []string{s.mkdir("empty")}
	lower = append(lower, dirs...)
	slices.Reverse(lower)
	dir := s.mkdir("overlay")
	must(s.tb, unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")))
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
