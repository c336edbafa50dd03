package cli_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// mounts are the lines of the mount table by what does not change of a mount, however
// others change what it shows.
func mounts(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for line := range strings.Lines(string(text)) {
		// The directory where namespaces are pinned, a mount on itself, as ip-netns
		// leaves it.
		if f := strings.Fields(line); f[4] != "/run/netns" {
			kept[strings.Join([]string{f[0], f[1], f[2], f[4]}, " ")] = line
		}
	}
	return kept
}

// checkNothingLeft looks for what a script may have left behind. The kernel may
// take a moment to take away what nobody uses.
func checkNothingLeft(t *testing.T, before map[string]string, parent string) {
	t.Helper()
	deadline := time.NewTimer(patience / 2)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := leftovers(t, before, parent)
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			killOurs(t)
			return
		}
	}
}

func leftovers(t *testing.T, before map[string]string, parent string) []string {
	t.Helper()
	var left []string
	left = append(left, processes()...)
	for mount, line := range mounts(t) {
		// Another's may go when what it is mounted at is removed elsewhere.
		if before[mount] == "" {
			left = append(left, "mount "+line)
		}
	}
	dirs := []string{"/run/netns", "/run/node/instances"}
	for _, run := range []string{"/run/siflet-0", fmt.Sprintf("/tmp/siflet-%d", userID), fmt.Sprintf("/tmp/siflet-%d", otherID)} {
		dirs = append(dirs, run+"/instances", run+"/once")
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Error(err)
	}
	for _, link := range links {
		if link.Type() == "veth" && !slices.Contains([]string{uplink, uplinkPeer}, link.Attrs().Name) {
			left = append(left, "link "+link.Attrs().Name)
		}
	}
	return append(append(left, loops()...), cgroups(parent)...)
}

// processes are those in a namespace of ours, but us.
func processes() []string {
	var left []string
	self := map[string]string{}
	kinds := []string{"mnt", "net", "ipc", "uts"}
	for _, kind := range kinds {
		self[kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	own, _ := os.Readlink("/proc/self")
	for _, dir := range dirs {
		if filepath.Base(dir) == own {
			continue
		}
		for _, kind := range kinds {
			if ns, err := os.Readlink(dir + "/ns/" + kind); err == nil && ns == self[kind] {
				text, _ := os.ReadFile(dir + "/cmdline") // it may have ended
				left = append(left, "process "+filepath.Base(dir)+" "+strings.ReplaceAll(string(text), "\x00", " "))
				break
			}
		}
	}
	return left
}

// killOurs ends what a failed script left running, so that the next one does not
// suffer from it.
func killOurs(t *testing.T) {
	t.Helper()
	for _, line := range processes() {
		pid, err := strconv.Atoi(strings.Fields(line)[1])
		if err != nil {
			t.Error(err)
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // another's end may have been its own
	}
}

// loops are the loop devices on our images.
func loops() []string {
	var left []string
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have gone
		if strings.Contains(string(text), os.Getenv(imageVar)) {
			left = append(left, file+" "+string(text))
		}
	}
	return left
}

// cgroups removes the scripts' own group, which fails if there is one in it.
func cgroups(parent string) []string {
	var left []string
	roots, _ := filepath.Glob("/sys/fs/cgroup/*")
	for _, root := range append(roots, "/sys/fs/cgroup") {
		if root == "/sys/fs/cgroup" && len(roots) == 0 {
			continue
		}
		err := os.Remove(root + parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			left = append(left, err.Error())
		}
	}
	return left
}
