package cri_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestDevicesComeWithTheirPermissions(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Devices = []*criapi.Device{{HostPath: "/dev/null", ContainerPath: "/dev/mine", Permissions: "rw"}, {HostPath: "/dev/loop-control", Permissions: "r"}}
	id := a.launch(pod, c, p)
	for command, want := range map[string]int32{
		"test -c /dev/mine && echo x >/dev/mine": 0,
		": </dev/loop-control":                   0,
		": 3>/dev/loop-control":                  1,
	} {
		if got := a.execSync(id, "sh", "-c", command); got.ExitCode != want {
			t.Errorf("%s: exit code %d, want %d\n%s", command, got.ExitCode, want, got.Stderr)
		}
	}
}

const loopControl = 10<<8 | 237

// nodes makes device nodes of one kind that containers may not use unasked.
func nodes(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mknod(filepath.Join(dir, name), syscall.S_IFCHR|0o640, loopControl); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDevicesBelowADirectory(t *testing.T) {
	a := start(t)
	dir := a.dir + "/nodes"
	nodes(t, dir, "one", "sub/two", "console", "pts/three")
	if err := os.Symlink(dir, a.dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("one", dir+"/other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(a.dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Devices = []*criapi.Device{
		{HostPath: a.dir + "/link", ContainerPath: "/dev/mine", Permissions: "r"},
		{HostPath: a.dir + "/empty", ContainerPath: "/dev/none", Permissions: "r"},
	}
	id := a.launch(pod, c, p)
	a.sh(id, "cd /dev/mine; find . -type c | sort; true <one && echo read; true 2>/dev/null 3<>sub/two || echo no more", "./one\n./sub/two\nread\nno more\n")
	a.sh(id, "stat -c %a:%u:%g /dev/mine/one", "640:0:0\n")
}

func TestDevicePermissionsOneByOne(t *testing.T) {
	a := start(t)
	nodes(t, a.dir, "node")
	pod, p := a.hostPod("p")
	const open = "cd /dev; true <node && echo r; true 3>node && echo w; true 3<>node && echo rw; mknod /dev/new c 10 237 && echo m; true"
	for permissions, want := range map[string]string{
		"r": "r\nm\n", "w": "w\nm\n", "rw": "r\nw\nrw\nm\n", "m": "m\n", "wr": "r\nw\nrw\nm\n", "rwm": "r\nw\nrw\nm\n", "": "r\nw\nrw\nm\n",
	} {
		c := containerConfig("c"+permissions, busybox(t), "sleep", "1000")
		c.Devices = []*criapi.Device{{HostPath: a.dir + "/node", ContainerPath: "/dev/node", Permissions: permissions}}
		a.sh(a.launch(pod, c, p), "("+open+") 2>/dev/null", want)
	}
	c := containerConfig("none", busybox(t), "sleep", "1000")
	a.sh(a.launch(pod, c, p), "mknod /dev/new c 10 237; true 2>/dev/null </dev/new || echo no", "no\n")
}

func TestPrivilegedContainersHaveEveryDevice(t *testing.T) {
	a := start(t)
	pod, p := a.privilegedPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Privileged: true}
	id := a.launch(pod, c, p)
	a.sh(id, "test -c /dev/loop-control && true 3<>/dev/loop-control && echo node; mknod /tmp/new c 10 237 && true 3<>/tmp/new && echo new", "node\nnew\n")
}
