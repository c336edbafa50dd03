package node

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
)

// ready starts a server whose device comes through the socket.
func ready(t *testing.T, files ...string) (gate linux.FD, cmd *exec.Cmd) {
	t.Helper()
	f, err := os.Open(makeSquashfs(t, variedTree(t), "-comp", "gzip"))
	must(t, err)
	defer f.Close()
	gate, other, err := linux.Socketpair()
	must(t, err)
	theirs := os.NewFile(uintptr(other), "socket")
	defer theirs.Close()
	cmd = exec.Command(build(t, "siflet-fuse"), append([]string{"-f", "-o", "offset=0", "/proc/self/fd/3", "/dev/fd/4"}, files...)...)
	cmd.Stderr, cmd.ExtraFiles = &bytes.Buffer{}, []*os.File{f, theirs}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return gate, cmd
}

func TestFUSEServerThatIsReady(t *testing.T) {
	if !alone(t) {
		return
	}
	gate, cmd := ready(t, "/none", "/link", "many", "/a/../text", "mixed")
	dir, device := mountFUSE(t)
	_, err := gate.SendFDs([]byte{'F'}, linux.FD(device.Fd()))
	must(t, err)
	must(t, gate.Close())
	must(t, device.Close())
	for name, want := range map[string]string{"a/b/c/d": "deep", "small": "small\n", "text": string(bytes.Repeat([]byte("all work and no play\n"), 90_000))} {
		got, err := os.ReadFile(dir + "/" + name)
		if err != nil || string(got) != want {
			t.Errorf("%s = %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	must(t, unix.Unmount(dir, 0))
	if err := cmd.Wait(); err != nil {
		t.Errorf("unmounted: %v: %s", err, cmd.Stderr)
	}
}

func TestFUSEServerThatNobodyWants(t *testing.T) {
	if !alone(t) {
		return
	}
	gate, cmd := ready(t, "text")
	must(t, gate.Close())
	if err := cmd.Wait(); err != nil {
		t.Errorf("the socket is closed: %v: %s", err, cmd.Stderr)
	}
}
