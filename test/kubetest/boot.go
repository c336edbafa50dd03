package kubetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// KillCgroup kills what runs in this group and those in it, and says so if something did.
func KillCgroup(name string) error {
	names, err := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range names {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		text, _ := os.ReadFile(file) // processes come and go
		in := bytes.Contains(text, []byte(name+"/")) || bytes.Contains(text, []byte(name+"\n"))
		if pid > 1 && in && syscall.Kill(pid, syscall.SIGKILL) == nil {
			err = errors.Join(err, fmt.Errorf("process %d ran", pid))
		}
	}
	return err
}

// AnotherBoot gives the kernel a boot ID that it has not had, until the test ends.
func AnotherBoot(t *testing.T) {
	t.Helper()
	const path = "/proc/sys/kernel/random/boot_id"
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "boot_id")
	if err := errors.Join(os.WriteFile(file, id, 0o444), syscall.Mount(file, path, "", syscall.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
}
