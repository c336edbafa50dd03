package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall" //nolint:depguard // to be another user
	"testing"
)

// Nobody has this ID.
const unlistedID = 2_000_004_242

func TestWhoIsUnlistedIsToldWhatToSet(t *testing.T) {
	if os.Getenv("SIFLET_TEST_UNLISTED") != "" {
		r, err := callerRoots()
		_, _ = fmt.Fprintln(os.Stdout, r.base, r.user, err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"nothing":   {nil, "user 2000004242 is not in /etc/passwd, and HOME is not set: set it, or SIFLET_CONFIGDIR to a directory for images and instances"},
		"home":      {[]string{"HOME=/some"}, "/some/.siflet 2000004242 <nil>"},
		"directory": {[]string{"SIFLET_CONFIGDIR=/any"}, "/any 2000004242 <nil>"},
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestWhoIsUnlistedIsToldWhatToSet$", "-test.v")
		cmd.Env = append(test.env, "SIFLET_TEST_UNLISTED=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unlistedID, Gid: unlistedID}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("with %s: %v, %s, want %q", name, err, out, test.want)
		}
	}
}

func TestErrorsOfTheOwnDirectorySayWhichVariableNamesIt(t *testing.T) {
	t.Setenv(configDirVar, "/no/such/.siflet")
	for _, test := range []struct {
		err  error
		hint bool
	}{
		{&fs.PathError{Op: "mkdir", Path: "/no", Err: syscall.EROFS}, true},
		{&fs.PathError{Op: "open", Path: "/no/such/.siflet/x", Err: syscall.EACCES}, true},
		{&fs.PathError{Op: "open", Path: "/no", Err: syscall.EACCES}, false},
		{&fs.PathError{Op: "open", Path: "/no/such/.siflet/x", Err: syscall.ENOSPC}, true},
		{&fs.PathError{Op: "open", Path: "/no/such/.siflet/x", Err: syscall.EINVAL}, false},
		{&fs.PathError{Op: "mkdir", Path: "/other", Err: syscall.EACCES}, false},
		{errors.New("any"), false},
	} {
		if got := ownDirHint(fmt.Errorf("do: %w", test.err)); (got != "") != test.hint {
			t.Errorf("ownDirHint(%v) = %q, want one: %v", test.err, got, test.hint)
		}
	}
}
