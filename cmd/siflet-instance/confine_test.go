package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix" //nolint:depguard // looks at what the kernel holds

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

func TestContainerMayHaveHugePages(t *testing.T) {
	in := startInstance(t, supervisor.Config{})
	got := in.run(t, in.program("while read k v; do test $k = THP_enabled: && echo $v; done < /proc/self/status"))
	if got != "1" {
		t.Errorf("THP_enabled = %q, want 1", got)
	}
}

func TestContainerCannotChangeTheHostsNull(t *testing.T) {
	in := startInstance(t, supervisor.Config{})
	p := in.program("chmod 666 /proc/self/fd/0 && echo stdin; chmod 666 /proc/keys && echo mask; echo > /proc/keys && echo end")
	p.MaskedPaths = []string{"/proc/keys"}
	got := in.run(t, p)
	if strings.Count(got, "Read-only file system") != 2 || !strings.HasSuffix(got, "end") {
		t.Errorf("the container wrote %q, want two refusals and a write", got)
	}
}

func TestContainerKnowsItsEmptyInput(t *testing.T) {
	in := startInstance(t, supervisor.Config{})
	p := in.program("readlink /proc/self/fd/0")
	p.Mounts = append(p.Mounts, program.Mount{Type: "tmpfs", Target: "/dev"})
	p.Devices = []program.Device{{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, Mode: 0o666}}
	if got := in.run(t, p); got != "/dev/null" {
		t.Errorf("standard input is %q, want /dev/null", got)
	}
}

func TestContainerIsNotProtectedLikeItsSupervisor(t *testing.T) {
	needCap(t, unix.CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE")
	score := -500
	in := startInstance(t, supervisor.Config{OOMScoreAdj: &score})
	if got := in.run(t, in.program("cat /proc/self/oom_score_adj")); got != "0" {
		t.Errorf("oom_score_adj = %q, want 0", got)
	}
}

func TestContainerDoesNotPossessTheCallersKeys(t *testing.T) {
	// The session keyring is the thread's, which ends with the test.
	goruntime.LockOSThread()
	if _, err := unix.KeyctlJoinSessionKeyring("siflet-test"); err != nil {
		t.Skipf("needs keyrings: %v", err)
	}
	key, err := unix.AddKey("user", "siflet-secret", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
	must(t, err)
	const possessorOnly = 0x3f000000
	must(t, unix.KeyctlSetperm(key, possessorOnly))
	in := startInstance(t, supervisor.Config{})
	if got := in.run(t, in.program("cat /proc/keys")); strings.Contains(got, "siflet-secret") {
		t.Errorf("the container sees %q", got)
	}
}

func TestInitHoldsNothingOfTheHost(t *testing.T) {
	in := startInstance(t, supervisor.Config{SharedPID: true})
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", in.init))
	must(t, err)
	if len(tasks) == 0 {
		t.Fatal("no thread")
	}
	for _, task := range tasks {
		names, err := os.ReadDir(task + "/root/")
		must(t, err)
		mounts, err := os.ReadFile(task + "/mountinfo")
		must(t, err)
		if len(names) > 0 || strings.Count(string(mounts), "\n") != 1 {
			t.Errorf("root of a thread: %v, mounts:\n%s", names, mounts)
		}
		status, err := os.ReadFile(task + "/status")
		must(t, err)
		for _, want := range []string{"CapPrm:\t0000000000000020\n", "CapInh:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("status of a thread lacks %q:\n%s", want, status)
			}
		}
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", in.init))
	must(t, err)
	for _, file := range files {
		to, err := os.Readlink(file)
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Stat(file, &st))
		if strings.HasPrefix(to, "/") && st.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("init has %s open", to)
		}
	}
}

func TestSharedMemoryHoldsNoOtherMount(t *testing.T) {
	in := startInstance(t, supervisor.Config{SharedMemory: 1 << 20})
	p := in.program("true")
	must(t, os.Mkdir(filepath.Join(in.root, "shm"), 0o755))
	p.Mounts = append(p.Mounts, program.Mount{Type: "shm", Target: "/shm"})
	in.run(t, p)
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", in.pid))
	must(t, err)
	var held []string
	for _, file := range files {
		to, err := os.Readlink(file)
		must(t, err)
		if strings.HasPrefix(to, "mnt:[") {
			held = append(held, file)
		}
	}
	if len(held) != 1 {
		t.Fatalf("the supervisor holds %d mount namespaces, want 1", len(held))
	}
	mounts, err := mountsOf(held[0])
	must(t, err)
	if strings.Count(mounts, "\n") != 1 || !strings.Contains(mounts, " - tmpfs shm ") {
		t.Errorf("the namespace holds\n%s", mounts)
	}
}

// mountsOf is the mount table of a mount namespace.
func mountsOf(name string) (text string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // for good: the thread ends in another namespace
		text, err = enterAndList(name)
	}()
	<-done
	return text, err
}

func enterAndList(name string) (text string, err error) {
	thread, err := unix.Open("/proc/thread-self", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unix.Close(thread)) }()
	ns, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unix.Close(ns)) }()
	if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(ns, unix.CLONE_NEWNS)); err != nil {
		return "", err
	}
	table, err := unix.Openat(thread, "mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	b := make([]byte, 64<<10)
	n, err := unix.Read(table, b)
	return string(b[:max(n, 0)]), errors.Join(err, unix.Close(table))
}

func TestSupervisorHasTheHostsMounts(t *testing.T) {
	in := startInstance(t, supervisor.Config{SharedPID: true})
	own, err := os.Readlink("/proc/thread-self/ns/mnt")
	must(t, err)
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", in.pid))
	must(t, err)
	if own != theirs {
		t.Errorf("the supervisor's mount namespace is %s, want %s", theirs, own)
	}
}
