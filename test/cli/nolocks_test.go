package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// lockVar has the test become a command for which no file system has locks.
const lockVar = "SIFLET_CLI_TEST_NO_LOCKS"

// nolocks runs a command as if all file systems were as Lustre without its option flock:
//
//	nolocks COMMAND...
func nolocks(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: nolocks COMMAND...")
	}
	own := os.Args[0]
	if os.Geteuid() != 0 {
		own = filepath.Join(stage, "test")
	}
	err := ts.Exec("env", append([]string{lockVar + "=1", own}, args...)...)
	if (err != nil) != neg {
		ts.Fatalf("nolocks %q: %v", args, err)
	}
}

// withoutLocks becomes a command to which the kernel says that there are none.
func withoutLocks(args []string) error {
	goruntime.LockOSThread() // whose filter it is
	const allow, refuse = 0x7fff0000, 0x00050000
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FLOCK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	path, err := exec.LookPath(args[0])
	return errors.Join(err, os.Unsetenv(lockVar), unix.Exec(path, args, os.Environ()))
}
