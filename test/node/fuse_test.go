package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

// served mounts an image through FUSE, in a mount namespace of its own.
func served(t *testing.T, server, image, options string) (dir string, cmd *exec.Cmd) {
	t.Helper()
	dir, device := mountFUSE(t)
	f, err := os.Open(image)
	must(t, err)
	defer f.Close()
	cmd = exec.Command(server, "-f", "-o", options, "/proc/self/fd/3", "/dev/fd/4")
	cmd.Stderr, cmd.ExtraFiles = &bytes.Buffer{}, []*os.File{f, device}
	must(t, cmd.Start())
	must(t, device.Close())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return dir, cmd
}

func mountFUSE(t *testing.T) (dir string, device *os.File) {
	t.Helper()
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs /dev/fuse")
	}
	must(t, err)
	mount, err := linux.NewMount("fuse", []string{
		"source=image", "fd=" + strconv.Itoa(int(device.Fd())), "rootmode=40000", "user_id=0", "group_id=0", "allow_other", "default_permissions",
	}, linux.Attr{Readonly: true})
	must(t, err)
	defer linux.Close(mount)
	dir = t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	at, err := linux.Open(dir, linux.OPath)
	must(t, err)
	defer linux.Close(at)
	must(t, linux.MoveMount(mount, at))
	return dir, device
}

func alone(t *testing.T) bool {
	t.Helper()
	if !isolated(t) {
		return false
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	return true
}

// variedTree has a file of every kind, and contents of every shape.
func variedTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	noise := make([]byte, 700_001)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(noise)
	for name, data := range map[string][]byte{
		"empty": nil, "small": []byte("small\n"), "noise": noise, "text": bytes.Repeat([]byte("all work and no play\n"), 90_000),
		"exact": bytes.Repeat([]byte{'x'}, 256<<10), "zeros": make([]byte, 1<<20+5), "a/b/c/d": []byte("deep"),
		"mixed": append(append(bytes.Clone(noise), make([]byte, 600_000)...), "end"...), "setuid": []byte("#!"),
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o640))
	}
	must(t, os.Mkdir(dir+"/many", 0o711))
	for i := range 900 {
		must(t, os.WriteFile(fmt.Sprintf("%s/many/%04d%s", dir, i*7, strings.Repeat("n", i%60)), []byte(strconv.Itoa(i)), 0o600))
	}
	must(t, os.Chown(dir+"/small", 12, 70000))
	must(t, os.Chmod(dir+"/setuid", 0o755|fs.ModeSetuid|fs.ModeSticky))
	must(t, os.Link(dir+"/small", dir+"/a/hard"))
	must(t, os.Symlink("../etc/"+strings.Repeat("far/", 50), dir+"/link"))
	must(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(dir+"/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(t, unix.Mknod(dir+"/whiteout", unix.S_IFCHR, 0))
	must(t, unix.Mkfifo(dir+"/pipe", 0o620))
	must(t, unix.Setxattr(dir+"/setuid", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(t, unix.Setxattr(dir+"/a", "trusted.x", []byte("known to root"), 0))
	if err := unix.Setxattr(dir+"/a", "user.long", bytes.Repeat([]byte("v"), 3000), 0); !errors.Is(err, unix.EOPNOTSUPP) { // a tmpfs before Linux 6.6
		must(t, err)
	}
	return dir
}

func makeSquashfs(t *testing.T, dir string, args ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	args = append([]string{dir, image, "-noappend", "-quiet", "-no-progress"}, args...)
	if out, err := exec.CommandContext(t.Context(), "mksquashfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs %q: %v: %s", args, err, out)
	}
	return image
}

func inodesOf(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	inodes := map[string]uint64{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err := errors.Join(err, unix.Lstat(path, &st)); err != nil {
			return err
		}
		inodes[strings.TrimPrefix(path, dir)] = st.Ino
		return nil
	}))
	return inodes
}

func TestFUSEShowsWhatTheKernelShows(t *testing.T) {
	if !alone(t) {
		return
	}
	server, tree := build(t, "siflet-fuse"), variedTree(t)
	all := []string{
		"-comp gzip", "-comp xz -Xbcj x86", "-comp lzo", "-comp lz4", "-comp zstd", "-comp zstd -b 1M", "-comp gzip -b 4096",
		"-comp gzip -noI -noD -noF -noX", "-comp gzip -no-fragments", "-comp gzip -always-use-fragments", "-comp zstd -no-exports -nopad",
	}
	if testing.Short() {
		all = all[:1]
	}
	for _, args := range all {
		t.Run(args, func(t *testing.T) {
			image, kernel := makeSquashfs(t, tree, strings.Fields(args)...), t.TempDir()
			if out, err := exec.CommandContext(t.Context(), "mount", "-t", "squashfs", "-o", "loop,ro", image, kernel).CombinedOutput(); err != nil {
				t.Skipf("this kernel does not mount it: %s", out)
			}
			defer func() { must(t, unix.Unmount(kernel, 0)) }()
			want, inodes := treeOf(t, kernel), inodesOf(t, kernel)
			raw, err := os.ReadFile(image)
			must(t, err)
			moved := filepath.Join(t.TempDir(), "moved")
			must(t, os.WriteFile(moved, append(make([]byte, 1001), raw...), 0o600))

			dir, cmd := served(t, server, moved, "offset=1001")
			got := treeOf(t, dir)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the tree differs (-kernel +FUSE):\n%s", diff)
			}
			if diff := cmp.Diff(inodes, inodesOf(t, dir)); diff != "" {
				t.Errorf("inode numbers differ (-kernel +FUSE):\n%s", diff)
			}
			readAnywhere(t, filepath.Join(tree, "mixed"), filepath.Join(dir, "mixed"))
			must(t, unix.Unmount(dir, 0))
			if err := cmd.Wait(); err != nil {
				t.Errorf("the server ended with %v when nobody had it mounted: %s", err, cmd.Stderr)
			}
		})
	}
}

// readAnywhere reads parts of a file, past the page cache.
func readAnywhere(t *testing.T, original, name string) {
	t.Helper()
	want, err := os.ReadFile(original)
	must(t, err)
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	must(t, err)
	defer f.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		at, size := rng.IntN(len(want)/512)*512, 512*(1+rng.IntN(500))
		part := make([]byte, size)
		n, err := f.ReadAt(part, int64(at))
		if end := min(at+size, len(want)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part[:n], want[at:end]) {
			t.Fatalf("%d bytes at %d: %d bytes, %v; not those of the file", size, at, n, err)
		}
	}
}

func TestFUSEOwnersAndOverlayAttributes(t *testing.T) {
	if !alone(t) {
		return
	}
	tree := t.TempDir()
	must(t, os.Mkdir(tree+"/opaque", 0o755))
	must(t, os.Chown(tree+"/opaque", 5, 6))
	must(t, unix.Setxattr(tree+"/opaque", "trusted.overlay.opaque", []byte("y"), 0))
	dir, _ := served(t, build(t, "siflet-fuse"), makeSquashfs(t, tree), "offset=0,uid=1234,gid=4321,ro")
	var st unix.Stat_t
	must(t, unix.Lstat(dir+"/opaque", &st))
	if st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("owner = %d:%d, want 1234:4321", st.Uid, st.Gid)
	}
	got, err := xattrsOf(dir + "/opaque")
	must(t, err)
	if diff := cmp.Diff(map[string]string{"trusted.overlay.opaque": "y", "user.overlay.opaque": "y"}, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestKilledFUSEServerIsAnErrorToReaders(t *testing.T) {
	if !alone(t) {
		return
	}
	dir, cmd := served(t, build(t, "siflet-fuse"), makeSquashfs(t, variedTree(t)), "offset=0")
	_, err := os.ReadFile(dir + "/small")
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if _, err := os.ReadFile(dir + "/text"); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("reading = %v, want %v", err, unix.ENOTCONN)
	}
}

func TestFUSEServerEndsWithItsParent(t *testing.T) {
	if !alone(t) {
		return
	}
	dir, device := mountFUSE(t)
	image := makeSquashfs(t, variedTree(t))
	parent := exec.Command("sh", "-c", `"$0" -f -o offset=0 "$1" /dev/fd/3 & wait`, build(t, "siflet-fuse"), image)
	parent.ExtraFiles = []*os.File{device}
	must(t, parent.Start())
	must(t, device.Close())
	_, err := os.ReadFile(dir + "/small")
	must(t, err)
	must(t, parent.Process.Kill())
	_ = parent.Wait()
	deadline := time.Now().Add(time.Minute)
	for n := 0; ; n++ {
		if _, err = os.Stat(fmt.Sprintf("%s/none%d", dir, n)); errors.Is(err, unix.ENOTCONN) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server answers still: %v", err)
		}
	}
}

func TestFUSEServerTellsWhatIsWrong(t *testing.T) {
	if !alone(t) {
		return
	}
	server, image := build(t, "siflet-fuse"), makeSquashfs(t, variedTree(t), "-comp", "gzip")
	raw, err := os.ReadFile(image)
	must(t, err)
	copy(raw[96:], bytes.Repeat([]byte{0xee}, 3000)) // data of the first file that has any
	bad := filepath.Join(t.TempDir(), "bad")
	must(t, os.WriteFile(bad, raw, 0o600))
	dir, _ := served(t, server, bad, "offset=0")
	failed := 0
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		if !e.Type().IsRegular() {
			continue
		}
		if _, err := os.ReadFile(filepath.Join(dir, e.Name())); errors.Is(err, unix.EIO) {
			failed++
		} else if err != nil {
			t.Errorf("read %s: %v, want no error but %v", e.Name(), err, unix.EIO)
		}
	}
	if failed == 0 || failed == len(list) {
		t.Errorf("%d of %d can't be read, want some", failed, len(list))
	}
	out, err := exec.Command(server, "-f", "-o", "offset=5", image, "/dev/fd/0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "magic") {
		t.Errorf("serving no squashfs = %v: %s", err, out)
	}
}
