package linux_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

func root(t *testing.T) (string, int) {
	t.Helper()
	dir := t.TempDir()
	fd, err := linux.Open(dir, linux.OPath|linux.ODirectory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { linux.Close(fd) })
	return dir, fd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenInStaysInside(t *testing.T) {
	dir, fd := root(t)
	must(t, os.Mkdir(dir+"/etc", 0o755))
	must(t, os.WriteFile(dir+"/etc/passwd", []byte("inside"), 0o644))
	must(t, os.Symlink("/etc", dir+"/abs"))
	must(t, os.Symlink("../../../../../../etc", dir+"/up"))
	for _, name := range []string{"/etc/passwd", "abs/passwd", "up/passwd", "../../etc/passwd"} {
		data, err := linux.ReadIn(fd, name, 100)
		if err != nil || string(data) != "inside" {
			t.Errorf("ReadIn(%q) = %q, %v", name, data, err)
		}
	}
	must(t, os.Symlink("/proc/self/root/etc", dir+"/magic"))
	if _, err := linux.OpenIn(fd, "magic/passwd", 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenIn(magic) = %v, want none", err)
	}
	if _, err := linux.OpenPlain(fd, "abs/passwd", 0, 0); !errors.Is(err, linux.ELOOP) {
		t.Errorf("OpenPlain(abs) = %v, want ELOOP", err)
	}
}

func TestReadInRefusesWhatIsNoSmallFile(t *testing.T) {
	dir, fd := root(t)
	must(t, os.WriteFile(dir+"/big", make([]byte, 101), 0o644))
	must(t, unix.Mkfifo(dir+"/fifo", 0o644))
	if _, err := linux.ReadIn(fd, "big", 100); !errors.Is(err, unix.EFBIG) {
		t.Errorf("big file: %v, want EFBIG", err)
	}
	for _, name := range []string{"fifo", "/"} {
		if _, err := linux.ReadIn(fd, name, 100); err == nil {
			t.Errorf("ReadIn(%q) succeeded", name)
		}
	}
}

func TestMakeInCompletesDanglingLinksInside(t *testing.T) {
	dir, fd := root(t)
	must(t, os.Mkdir(dir+"/etc", 0o755))
	must(t, os.Symlink("../run/stub/resolv.conf", dir+"/etc/resolv.conf"))
	must(t, os.Symlink("/../../loop", dir+"/loop")) // itself
	for _, c := range []struct {
		name, want string
		dir        bool
	}{
		{"/etc/resolv.conf", "run/stub/resolv.conf", false},
		{"a/b/../c", "a/c", true},
		{"/../../x", "x", false},
	} {
		got, err := linux.MakeIn(fd, c.name, c.dir)
		if err != nil {
			t.Errorf("MakeIn(%q): %v", c.name, err)
			continue
		}
		linux.Close(got)
		info, err := os.Lstat(filepath.Join(dir, c.want))
		if err != nil || info.IsDir() != c.dir {
			t.Errorf("MakeIn(%q) made no %s: %v", c.name, c.want, err)
		}
	}
	if _, err := linux.MakeIn(fd, "loop/x", true); !errors.Is(err, linux.ELOOP) {
		t.Errorf("MakeIn(loop) = %v, want ELOOP", err)
	}
}

func TestCapabilityNamesRoundTrip(t *testing.T) {
	all := ^linux.CapSet(0)
	set, err := linux.ParseCaps(all.Names())
	if err != nil || set != 1<<41-1 {
		t.Errorf("ParseCaps(all) = %x, %v", set, err)
	}
	set, err = linux.ParseCaps([]string{"chown", "CAP_SYS_ADMIN"})
	if err != nil || set != 1|1<<21 {
		t.Errorf("ParseCaps = %x, %v", set, err)
	}
	if _, err := linux.ParseCaps([]string{"CAP_NOSUCH"}); err == nil {
		t.Error("an unknown name was taken")
	}
}

func TestAttachLoopRefusesBytesOutsideOfTheFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer func() { must(t, f.Close()) }()
	must(t, f.Truncate(4096))
	for _, c := range [][2]int64{{0, 4097}, {-1, 10}, {4096, 1}, {0, 0}, {1, 1<<63 - 1}, {1<<63 - 1, 2}} {
		if _, err := linux.AttachLoop(int(f.Fd()), c[0], c[1], false, ""); !errors.Is(err, linux.EINVAL) {
			t.Errorf("AttachLoop(%d, %d) = %v, want EINVAL", c[0], c[1], err)
		}
	}
}

func TestSeccompRefusesBrokenPrograms(t *testing.T) {
	for _, n := range []int{0, 7, 9, 8 * 4097} {
		if err := linux.Seccomp(make([]byte, n), 0); !errors.Is(err, linux.EINVAL) {
			t.Errorf("%d bytes: %v, want EINVAL", n, err)
		}
	}
}

func TestOpenExactFollowsNoLinkAndWaitsForNoWriter(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Mkdir(dir+"/in", 0o755))
	must(t, os.WriteFile(dir+"/in/file", []byte("exact"), 0o644))
	must(t, os.Symlink("in", dir+"/link"))
	must(t, os.Symlink("file", dir+"/in/last"))
	must(t, unix.Mkfifo(dir+"/in/fifo", 0o644))
	fd, err := linux.OpenExact(dir + "/in/file")
	must(t, err)
	defer linux.Close(fd)
	if data, err := linux.ReadAll(fd, 100); err != nil || string(data) != "exact" {
		t.Errorf("OpenExact(file) reads %q, %v", data, err)
	}
	for _, name := range []string{dir + "/link/file", dir + "/in/last", "/proc/self/root" + dir + "/in/file"} {
		if fd, err := linux.OpenExact(name); !errors.Is(err, linux.ELOOP) {
			t.Errorf("OpenExact(%s) = %d, %v, want ELOOP", name, fd, err)
		}
	}
	for _, name := range []string{"/in", "/in/fifo", "/in/none"} {
		if fd, err := linux.OpenExact(dir + name); err == nil {
			t.Errorf("OpenExact(%s) = %d, want an error", name, fd)
		}
	}
}
