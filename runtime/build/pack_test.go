package build

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix" //nolint:depguard // devices and attributes for the tests

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/unsquash"
)

// capability is CAP_NET_BIND_SERVICE as a file has it.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for owners, devices and capabilities of files")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t *testing.T, path string) int {
	t.Helper()
	fd, err := linux.Open(path, linux.OPath|linux.ODirectory)
	must(t, err)
	t.Cleanup(func() { linux.Close(fd) })
	return fd
}

// everything makes one of each thing that a root file system may hold.
func everything(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Chmod(dir, 0o750))
	must(t, os.MkdirAll(in("a/b"), 0o755))
	must(t, os.WriteFile(in("a/file"), []byte("text"), 0o640))
	must(t, os.Chown(in("a/file"), 1000, 2000))
	must(t, os.Chmod(in("a/file"), 0o640|fs.ModeSetuid|fs.ModeSetgid))
	must(t, os.Chmod(in("a/b"), 0o711|fs.ModeSticky))
	must(t, os.Link(in("a/file"), in("z-linked")))
	must(t, os.Symlink("/a/file", in("link")))
	must(t, os.Lchown(in("link"), 7, 8))
	must(t, os.WriteFile(in("sparse"), nil, 0o600))
	must(t, os.Truncate(in("sparse"), 10<<20))
	must(t, os.WriteFile(in("empty"), nil, 0))
	must(t, os.WriteFile(in("privileged"), []byte("x"), 0o755))
	must(t, unix.Setxattr(in("privileged"), "security.capability", []byte(capability), 0))
	must(t, unix.Setxattr(in("privileged"), "user.note", []byte("a note"), 0))
	must(t, unix.Mkfifo(in("fifo"), 0o622))
	must(t, unix.Mknod(in("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(in("block"), unix.S_IFBLK|0o660, int(unix.Mkdev(8, 300))))
	old := time.Unix(1_000_000_000, 0)
	must(t, os.Chtimes(in("a/file"), old, old))
	must(t, os.Chtimes(in("a/b"), old, old))
	return dir
}

// described is what counts of an inode.
type described struct {
	mode     uint32
	uid, gid uint32
	size     int64
	mtime    int64
	links    uint64
	rdev     uint64
	target   string
}

func TestSandboxHasAllThatATreeHas(t *testing.T) {
	needRoot(t)
	from, to := everything(t), filepath.Join(t.TempDir(), "copy")
	must(t, copyOut(t.Context(), openDir(t, from), to, false, nil))
	want, got := describe(t, from), describe(t, to)
	for name, d := range want {
		if got[name] != d {
			t.Errorf("%s: %+v, want %+v", name, got[name], d)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	for name, want := range map[string]string{"security.capability": capability, "user.note": "a note"} {
		if got := xattr(t, filepath.Join(to, "privileged"), name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(to, "sparse"), &st))
	if st.Blocks > 16 {
		t.Errorf("a hole has become %d blocks", st.Blocks)
	}
	same, err := os.ReadFile(filepath.Join(to, "z-linked"))
	if err != nil || string(same) != "text" {
		t.Errorf("z-linked = %q, %v", same, err)
	}
}

func describe(t *testing.T, dir string) map[string]described {
	t.Helper()
	all := map[string]described{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		d := described{mode: st.Mode, uid: st.Uid, gid: st.Gid, rdev: st.Rdev}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			d.size, d.links, d.mtime = st.Size, st.Nlink, st.Mtim.Nano()
		case unix.S_IFDIR:
			d.mtime = st.Mtim.Nano()
		case unix.S_IFLNK:
			if d.target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		all[name] = d
		return err
	}))
	return all
}

func xattr(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 100)
	n, err := unix.Getxattr(path, name, buf)
	must(t, err)
	return string(buf[:n])
}

func TestPackKeepsAllThatSquashfsCan(t *testing.T) {
	needRoot(t)
	dir := everything(t)
	must(t, unix.Setxattr(dir+"/empty", "system.posix_acl_access", []byte(
		"\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff"+
			"\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"), 0))
	fsys, made := packInto(t, dir, clamp{})
	if made.lost.ACLs != 1 || len(made.lost.Xattrs) != 0 {
		t.Errorf("lost %+v, want one ACL", made.lost)
	}
	for name, want := range describe(t, dir) {
		info, err := fsys.Lstat(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i, _ := info.Sys().(*unsquash.Info)
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &st))
		if got := filemode(info.Mode()); got != want.mode&0o7777 {
			t.Errorf("%s: mode %o, want %o", name, got, want.mode&0o7777)
		}
		if i.UID != want.uid || i.GID != want.gid || info.ModTime().Unix() != st.Mtim.Sec {
			t.Errorf("%s: %d:%d %s, want %d:%d %d", name, i.UID, i.GID, info.ModTime(), want.uid, want.gid, st.Mtim.Sec)
		}
	}
	attributes, err := fsys.Xattrs("privileged")
	if err != nil || attributes["security.capability"] != capability || attributes["user.note"] != "a note" {
		t.Errorf("xattrs = %q, %v", attributes, err)
	}
}

func TestReproducibleImagesHaveNoTimeOfTheBuild(t *testing.T) {
	needRoot(t)
	began := time.Now().Add(-time.Hour)
	fsys, _ := packInto(t, everything(t), clamp{since: began, as: time.Unix(42, 0)})
	for name, want := range map[string]int64{"a/file": 1_000_000_000, "empty": 42, ".": 42} {
		if info, err := fsys.Stat(name); err != nil || info.ModTime().Unix() != want {
			t.Errorf("%s: %v, %v; want %d", name, info.ModTime(), err, want)
		}
	}
}

func packInto(t *testing.T, dir string, times clamp) (*unsquash.Reader, packed) {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "fs"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	defer out.Close()
	made, err := pack(t.Context(), openDir(t, dir), out, times, false, owners{}, nil)
	must(t, err)
	text, err := os.ReadFile(out.Name())
	must(t, err)
	fsys, err := unsquash.NewReader(bytes.NewReader(text), made.size)
	must(t, err)
	return fsys, made
}

// filemode is a mode in the kernel's words.
func filemode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for from, to := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&from != 0 {
			mode |= to
		}
	}
	return mode
}
