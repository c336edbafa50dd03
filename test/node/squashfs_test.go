package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	sqfs "github.com/siflet/siflet/runtime/squashfs"
)

// mountImage mounts a file system for the time of the test, which is isolated.
func mountImage(t *testing.T, path string) string {
	t.Helper()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "squashfs", "-o", "loop,ro", path, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// everything makes a tree with all that squashfs can hold.
func everything(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if !keepsXattrs(t, dir) {
		t.Skip("needs a file system with user's extended attributes in TMPDIR")
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	text := strings.Repeat("some text that is compressed well\n", 40_000)
	for name, data := range map[string]string{
		"empty": "", "small": "small", "text": text, "same": text, "d/small too": "small", "d/e/deep": text[:200_000],
		"noise": string(randomBytes(1_300_000)), "block": string(randomBytes(131_072)), "suid": "x",
		strings.Repeat("n", 255): "long name", "d/zeros": strings.Repeat("\x00", 300_001),
	} {
		must(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		must(t, os.WriteFile(in(name), []byte(data), 0o644))
	}
	for i := range 3000 {
		must(t, os.MkdirAll(in("many"), 0o755))
		must(t, os.WriteFile(in(fmt.Sprintf("many/%d-%s", i, strings.Repeat("x", i%90))), fmt.Append(nil, i), 0o600))
	}
	for i := range 40 {
		must(t, os.MkdirAll(in(fmt.Sprintf("many/dir%d/sub", i)), 0o711))
	}
	must(t, os.Link(in("text"), in("d/link to text")))
	must(t, os.Symlink(strings.Repeat("t", 4095), in("long link")))
	must(t, os.Symlink("small", in("link")))
	must(t, os.Link(in("link"), in("link too")))
	must(t, unix.Mkfifo(in("fifo"), 0o640))
	must(t, unix.Mknod(in("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 300))))
	must(t, unix.Mknod(in("block device"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70_000))))
	must(t, unix.Mknod(in("sock"), unix.S_IFSOCK|0o755, 0))
	must(t, unix.Mknod(in("whiteout"), unix.S_IFCHR, 0))
	must(t, os.Lchown(in("small"), 1234, 4_000_000_000))
	must(t, os.Lchown(in("link"), 65534, 7))
	must(t, unix.Chmod(in("suid"), 0o6755))
	must(t, unix.Chmod(in("d"), 0o1777))
	for _, name := range []string{"small", "text", "d", "d/e", "char", "long link", "fifo"} {
		must(t, unix.Lsetxattr(in(name), "trusted.overlay.opaque", []byte("y"), 0))
	}
	must(t, unix.Lsetxattr(in("noise"), "user.long", bytes.Repeat([]byte("v"), 3000), 0))
	must(t, unix.Lsetxattr(in("noise"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(t, unix.Lsetxattr(in("small"), "user.empty", nil, 0))
	for name, sec := range map[string]int64{"small": 1, "link": 4_294_967_295, "d": 1_000_000_000} {
		at := []unix.Timespec{{Sec: sec}, {Sec: sec}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, in(name), at, unix.AT_SYMLINK_NOFOLLOW))
	}
	return dir
}

func needsTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s", name)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	x := uint64(n)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func squashfsKinds() map[string]sqfs.Options {
	return map[string]sqfs.Options{
		"none": {Compression: sqfs.None}, "gzip": {Compression: sqfs.Gzip}, "gzip 9": {Compression: sqfs.Gzip, Level: 9, BlockSize: 1 << 20},
		"lz4": {Compression: sqfs.LZ4}, "lz4 9": {Compression: sqfs.LZ4, Level: 9, BlockSize: 4096},
		"zstd": {Compression: sqfs.Zstd}, "zstd 9": {Compression: sqfs.Zstd, Level: 9, BlockSize: 1 << 20},
		"zstd 4 KiB": {Compression: sqfs.Zstd, BlockSize: 4096},
	}
}

func TestLinuxReadsWhatSquashfsWrote(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := everything(t)
	want := treeOf(t, dir)
	for name, o := range squashfsKinds() {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, treeOf(t, mountImage(t, packTree(t, dir, o)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLinuxReadsAFileOverFourGigabytes needs no room for it: it is nearly all zeros.
func TestLinuxReadsAFileOverFourGigabytes(t *testing.T) {
	if !isolated(t) {
		return
	}
	const size = 4<<30 + 200_000
	path := writeSquashfs(t, sqfs.Options{}, func(w *sqfs.Writer) error {
		data := io.MultiReader(strings.NewReader("head"), io.LimitReader(zeroReader{}, size-8), strings.NewReader("tail"))
		return w.Add(sqfs.Entry{Path: "large", Mode: unix.S_IFREG | 0o644, Size: size}, data)
	})
	f, err := os.Open(filepath.Join(mountImage(t, path), "large"))
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	head, middle, tail := make([]byte, 4), make([]byte, 4), make([]byte, 4)
	for at, b := range map[int64][]byte{0: head, 3 << 30: middle, size - 4: tail} {
		_, err := f.ReadAt(b, at)
		must(t, err)
	}
	if got := fmt.Sprintf("%d %q %q %q", info.Size(), head, middle, tail); got != fmt.Sprintf(`%d "head" "\x00\x00\x00\x00" "tail"`, size) {
		t.Errorf("large is %s", got)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Blocks > 1000 {
		t.Error("the zeros are counted as blocks")
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLinuxReadsAMillionEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped by -short")
	}
	if !isolated(t) {
		return
	}
	const dirs, files = 1000, 999
	path := writeSquashfs(t, sqfs.Options{Compression: sqfs.Zstd}, func(w *sqfs.Writer) error {
		for d := range dirs {
			for i := range files {
				data := fmt.Sprint(d, i%100)
				e := sqfs.Entry{Path: fmt.Sprintf("%d/file-%d", d, i), Mode: unix.S_IFREG | 0o644, Size: int64(len(data)), ModTime: time.Unix(int64(i), 0)}
				if err := w.Add(e, strings.NewReader(data)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	dir := mountImage(t, path)
	tops, err := os.ReadDir(dir)
	must(t, err)
	if len(tops) != dirs {
		t.Errorf("%d directories, want %d", len(tops), dirs)
	}
	for d := range dirs {
		entries, err := os.ReadDir(fmt.Sprintf("%s/%d", dir, d))
		must(t, err)
		i := d * 7 % files
		data, err := os.ReadFile(fmt.Sprintf("%s/%d/file-%d", dir, d, i))
		must(t, err)
		if len(entries) != files || string(data) != fmt.Sprint(d, i%100) {
			t.Fatalf("%d: %d entries, file-%d is %q", d, len(entries), i, data)
		}
	}
}

// TestLinuxFindsNamesInALargeDirectory looks up names in no order.
func TestLinuxFindsNamesInALargeDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped by -short")
	}
	if !isolated(t) {
		return
	}
	name := func(i int) string { return fmt.Sprintf("%d-%s", i*7919%50_000, strings.Repeat("x", i%60)) }
	path := writeSquashfs(t, sqfs.Options{}, func(w *sqfs.Writer) error {
		for i := range 50_000 {
			if err := w.Add(sqfs.Entry{Path: name(i), Mode: unix.S_IFIFO | 0o600, UID: uint32(i % 5)}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	dir := mountImage(t, path)
	for i := 0; i < 50_000; i += 17 {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name(i)), &st))
		if st.Uid != uint32(i%5) {
			t.Fatalf("%s has owner %d, want %d", name(i), st.Uid, i%5)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lstat(none) = %v, want not found", err)
	}
}

func TestToolsUnpackWhatSquashfsWrote(t *testing.T) {
	if !isolated(t) {
		return
	}
	needsTool(t, "unsquashfs")
	dir := everything(t)
	want := treeOf(t, dir)
	for name, o := range squashfsKinds() {
		t.Run(name, func(t *testing.T) {
			path, to := packTree(t, dir, o), filepath.Join(t.TempDir(), "out")
			for _, args := range [][]string{{"-s", path}, {"-ll", path}, {"-strict-errors", "-no-progress", "-d", to, path}} {
				if out, err := exec.CommandContext(t.Context(), "unsquashfs", args...).CombinedOutput(); err != nil {
					t.Fatalf("unsquashfs %s: %v: %s", args, err, out)
				}
			}
			if diff := cmp.Diff(want, treeOf(t, to)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSquashfsIsWhatOtherToolsMake compares mounted trees, entry by entry.
func TestSquashfsIsWhatOtherToolsMake(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := everything(t)
	must(t, os.Remove(filepath.Join(dir, "link too"))) // mksquashfs makes two symbolic links of one
	ours := treeOf(t, mountImage(t, packTree(t, dir, sqfs.Options{})))
	for name, script := range map[string]string{
		"mksquashfs": `mksquashfs "$1" "$2" -no-progress -quiet`,
		"tar2sqfs": `tar -C "$(dirname "$1")" --format=pax --xattrs --xattrs-include='*' --sort=name -cf - "$(basename "$1")" |
			tar2sqfs -q --no-skip --root-becomes "$(basename "$1")" "$2"`,
	} {
		t.Run(name, func(t *testing.T) {
			needsTool(t, name)
			want := maps.Clone(ours)
			path := filepath.Join(t.TempDir(), "theirs")
			if out, err := exec.CommandContext(t.Context(), "bash", "-c", "set -o pipefail; "+script, "-", dir, path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			got := treeOf(t, mountImage(t, path))
			if name == "tar2sqfs" {
				delete(want, "sock") // tar has none
				// Other file systems count directories only.
				countsFiles := regexp.MustCompile(`^(4\d{4} .*) links \d+`)
				for _, tree := range []map[string]string{want, got} {
					for path, line := range tree {
						tree[path] = countsFiles.ReplaceAllString(line, "$1")
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
