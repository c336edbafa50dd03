package services_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounts are those of this mount namespace; a directory where network namespaces are
// pinned stays a mount, as ip-netns leaves it.
func mounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.Fields(line)[4] != "/run/netns" {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// checkNothingLeft wants everything to be gone that the document made; the kernel may
// take a moment for it.
func checkNothingLeft(t *testing.T, before string) {
	t.Helper()
	var left []string
	if !eventually(func() bool { left = leftovers(t, before); return len(left) == 0 }) {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func leftovers(t *testing.T, before string) []string {
	t.Helper()
	left := processes()
	if now := mounts(t); now != before {
		left = append(left, "mounts:\n"+now)
	}
	for _, dir := range []string{"/run/netns", "/run/siflet-0/instances", "/run/siflet-0/once"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // a pattern that is right
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have gone
		if path := strings.TrimSpace(string(text)); reads("/dev/"+strings.Split(file, "/")[3], path) {
			left = append(left, file+" "+path)
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + parent()) // of version 1
	if _, err := os.Stat("/sys/fs/cgroup" + parent()); err == nil {
		left = append(left, "/sys/fs/cgroup"+parent())
	}
	return append(left, groups...)
}

// reads tells whether a loop device reads a file that we have at path. Others have
// files by such names, too.
func reads(device, path string) bool {
	var file unix.Stat_t
	if unix.Stat(path, &file) != nil {
		return false
	}
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	return err == nil && info.Inode == file.Ino
}

// processes are those that share a namespace with us.
func processes() []string {
	var left []string
	own, _ := os.Readlink("/proc/self")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, kind := range []string{"mnt", "net", "ipc"} {
			ours, _ := os.Readlink("/proc/self/ns/" + kind)
			ns, err := os.Readlink(dir + "/ns/" + kind)
			if err != nil || ns != ours || filepath.Base(dir) == own {
				continue
			}
			text, _ := os.ReadFile(dir + "/cmdline") // it may have ended
			left = append(left, "process "+filepath.Base(dir)+" "+strings.ReplaceAll(string(text), "\x00", " "))
			break
		}
	}
	return left
}
