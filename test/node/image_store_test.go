package node

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/test/apart"
	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// ownRegistry is a registry in the test's own network namespace.
func ownRegistry(t *testing.T) *registrytest.Server {
	t.Helper()
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""))
	must(t, apart.Loopback())
	return registrytest.New(t)
}

// described is a directory's entry in a layer.
func described(path string, mode int64, owner int, at int64) registrytest.Entry {
	return registrytest.Entry{Header: tar.Header{
		Name: path + "/", Typeflag: tar.TypeDir, Mode: mode, Uid: owner, Gid: owner, ModTime: time.Unix(at, 0),
		PAXRecords: map[string]string{"SCHILY.xattr.user.of": path},
	}}
}

// stack mounts an image's file systems as a container has them.
func stack(t *testing.T, img image.Image) string {
	t.Helper()
	dir := t.TempDir()
	var lower []string
	for i, e := range img.Extents {
		at := filepath.Join(dir, strconv.Itoa(i))
		must(t, os.Mkdir(at, 0o755))
		held, err := linux.HoldImage(e.Path, e.FS, e.Offset, e.Size, true, "", false)
		must(t, err)
		target, err := os.Open(at)
		must(t, err)
		must(t, linux.MoveMount(int(held.Fd()), int(target.Fd())))
		must(t, errors.Join(held.Close(), target.Close()))
		t.Cleanup(func() { must(t, syscall.Unmount(at, 0)) })
		lower = append([]string{at}, lower...)
	}
	root := filepath.Join(dir, "root")
	must(t, os.Mkdir(root, 0o755))
	must(t, syscall.Mount("overlay", root, "overlay", syscall.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")))
	t.Cleanup(func() { must(t, syscall.Unmount(root, 0)) })
	return root
}

// shown says how a directory looks: mode, owner, time, the attribute of described.
func shown(t *testing.T, path string) string {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Lstat(path, &st))
	value := make([]byte, 100)
	n, err := syscall.Getxattr(path, "user.of", value)
	if err != nil {
		n = 0
	}
	return fmt.Sprintf("%o %d:%d %d %s", st.Mode&0o7777, st.Uid, st.Gid, st.Mtim.Sec, value[:n])
}

func TestDirectoriesALayerIsSilentAboutLookAsLowerOnesSay(t *testing.T) {
	if !isolated(t) {
		return
	}
	reg := ownRegistry(t)
	file := registrytest.File
	img := registrytest.Image(t, v1.Config{},
		registrytest.Layer(t, registrytest.Gzip,
			described("a", 0o700, 7, 1000), described("a/b", 0o1777, 8, 2000), described("a/c", 0o750, 9, 3000), file("a/b/low", "low"),
			described("gone", 0o700, 7, 1000), file("gone/low", "low"), described("opq", 0o711, 5, 4000), described("opq/in", 0o700, 7, 1000),
			file("opq/in/low", "low"), described("late", 0o700, 7, 1000)),
		registrytest.Layer(t, registrytest.Gzip,
			file("a/b/f", "f"), file(".wh.gone", ""), file("opq/.wh..wh..opq", ""), file("opq/g", "g"), file("new/x", "x"), file("late/x", "x")),
		registrytest.Layer(t, registrytest.Gzip,
			file("gone/x", "x"), file("opq/in/x", "x"), file("a/b/g", "g"), described("late", 0o711, 3, 5000)))
	reg.Push(t, "web", img)
	s, err := image.Open(t.TempDir(), image.Options{Registry: reg.Client(t, nil)})
	must(t, err)
	got, err := s.Pull(t.Context(), reg.Host+"/web", image.PullOptions{})
	must(t, err)
	if len(got.Extents) != 4 || len(got.Layers) != 3 {
		t.Errorf("%d extents of %d layers, want one more than 3", len(got.Extents), len(got.Layers))
	}
	root := stack(t, got)
	want := map[string]string{
		"a": "700 7:7 1000 a", "a/b": "1777 8:8 2000 a/b", "a/c": "750 9:9 3000 a/c", "gone": "755 0:0 0 ",
		"opq": "711 5:5 4000 opq", "opq/in": "755 0:0 0 ", "new": "755 0:0 0 ", "late": "711 3:3 5000 late",
	}
	looks := map[string]string{}
	for dir := range want {
		looks[dir] = shown(t, filepath.Join(root, dir))
	}
	if diff := cmp.Diff(want, looks); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	var files []string
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root+"/"))
		}
		return err
	}))
	if diff := cmp.Diff([]string{"a/b/f", "a/b/g", "a/b/low", "gone/x", "late/x", "new/x", "opq/g", "opq/in/x"}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAPullOnAFullDiskLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	reg := ownRegistry(t)
	noise := make([]byte, 700<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	reg.Push(t, "large", registrytest.Image(t, v1.Config{},
		registrytest.Layer(t, registrytest.Gzip, registrytest.File("small", "small")),
		registrytest.Layer(t, registrytest.None, registrytest.File("noise", string(noise)))))
	reg.Push(t, "small", registrytest.Image(t, v1.Config{}, registrytest.Layer(t, registrytest.Gzip, registrytest.File("a", "a"))))
	sif, err := os.ReadFile(siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{"noise": string(noise)}}))
	must(t, err)
	reg.PushSIF(t, "sif", "app.sif", sif)
	dir := t.TempDir()
	failed := 0
	for size := 64; size < 1200; size += 44 {
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", size)))
		for _, name := range []string{"large", "sif"} {
			s, err := image.Open(dir, image.Options{Registry: reg.Client(t, nil)})
			must(t, err)
			if _, err = s.Pull(t.Context(), reg.Host+"/"+name, image.PullOptions{}); err == nil {
				must(t, s.Remove(t.Context(), reg.Host+"/"+name))
				continue
			}
			failed++
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("%s with %d KiB: Pull = %v, want ENOSPC", name, size, err)
			}
			for _, sub := range []string{"layers", "sha256", "ingest", "downloads", "images"} {
				left, err := os.ReadDir(filepath.Join(dir, sub))
				if err != nil || len(left) > 0 {
					t.Errorf("%s with %d KiB: %s has %v (%v), want nothing", name, size, sub, left, err)
				}
			}
			if size > 128 {
				_, err = s.Pull(t.Context(), reg.Host+"/small", image.PullOptions{})
				must(t, err)
				must(t, s.Remove(t.Context(), reg.Host+"/small"))
			}
		}
		must(t, syscall.Unmount(dir, 0))
	}
	if failed < 20 {
		t.Errorf("%d pulls failed, want most", failed)
	}
}
