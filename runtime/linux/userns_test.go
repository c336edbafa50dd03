package linux_test

import (
	"os"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/linux"
)

func userNamespace(t *testing.T, flags uintptr) linux.FD {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to map ids of others")
	}
	goruntime.LockOSThread() // and never unlocked: the thread ends with the test
	ns, err := linux.NewUserNamespace(linux.UserMaps{UID: "0 1000 100", GID: "0 2000 100"}, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// say runs a shell script in a user namespace.
func say(t *testing.T, attr *linux.ForkAttr, script string) (out string, code int) {
	t.Helper()
	null, err := linux.OpenNull()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w, err := linux.NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	attr.Args, attr.Env, attr.PIDNamespace = []string{"sh", "-c", script}, os.Environ(), linux.NoFD
	attr.Files = []linux.FD{null, w, w}
	pid, pidfd, err := linux.Fork("/bin/sh", attr)
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Slurp(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	child := linux.NewChild(pid, pidfd)
	defer child.Close()
	if code, _, err = child.Wait(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " "), code
}

func TestChildIsBornInUserNamespace(t *testing.T) {
	ns := userNamespace(t, linux.CloneNewNet|linux.CloneNewUTS|linux.CloneNewIPC)
	out, code := say(t, &linux.ForkAttr{UserNamespace: ns, CloneFlags: linux.CloneNewPID | linux.CloneNewMount, Setsid: true},
		"id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; echo $$; mount -t tmpfs x /mnt && hostname inside && hostname; exit 7")
	if want := "0 0 0 1000 100 0 2000 100 1 inside"; out != want || code != 7 {
		t.Errorf("the child said %q and ended with %d, want %q and 7", out, code, want)
	}
	if out, _ := say(t, &linux.ForkAttr{UserNamespace: ns}, "id -u; echo $$"); strings.HasSuffix(out, " 1") || !strings.HasPrefix(out, "0 ") {
		t.Errorf("without a PID namespace the child said %q", out)
	}
}

func TestForkIntoUserNamespaceTellsWhatDidNotWork(t *testing.T) {
	ns := userNamespace(t, 0)
	null, err := linux.OpenNull()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	attr := &linux.ForkAttr{UserNamespace: ns, CloneFlags: linux.CloneNewPID, PIDNamespace: linux.NoFD, Files: []linux.FD{null}}
	if _, _, err := linux.Fork("/no/such/program", attr); err == nil || !strings.Contains(err.Error(), "exec") {
		t.Errorf("Fork of a missing program: %v", err)
	}
	attr.UserNamespace = null
	if _, _, err := linux.Fork("/bin/true", attr); err == nil || !strings.Contains(err.Error(), "enter user namespace") {
		t.Errorf("Fork into what is no namespace: %v", err)
	}
}
