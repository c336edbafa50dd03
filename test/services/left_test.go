package services_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/walkthrough"
)

// mounts are the lines of the mount table by what does not change of a mount, however
// others change what it shows; a directory where network namespaces are pinned stays a
// mount, as ip-netns leaves it.
func mounts(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[4] != "/run/netns" {
			kept[strings.Join([]string{f[0], f[1], f[2], f[4]}, " ")] = line
		}
	}
	return kept
}

// checkNothingLeft wants everything to be gone that the document made; the kernel may
// take a moment for it.
func checkNothingLeft(t *testing.T, before map[string]string) {
	t.Helper()
	var left []string
	if !walkthrough.Eventually(func() bool { left = leftovers(t, before); return len(left) == 0 }) {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func leftovers(t *testing.T, before map[string]string) []string {
	t.Helper()
	left := walkthrough.Others()
	for mount, line := range mounts(t) {
		// Another's may go when what it is mounted at is removed elsewhere.
		if before[mount] == "" {
			left = append(left, "mount "+line)
		}
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
