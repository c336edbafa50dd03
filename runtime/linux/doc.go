// Package linux holds typed wrappers over the Linux system calls that make
// and join containers: mounts, loop devices, credentials, seccomp, pidfds,
// terminals, descriptor passing.
//
// It decides nothing and keeps no state. Calls that change the calling thread
// alone (credentials, namespaces, seccomp, parent-death signal) say so; their
// caller holds a locked thread. Every descriptor it returns is close-on-exec.
// It writes no file on disk of its own accord.
package linux

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Errors that callers branch on and package io/fs has no name for.
const (
	E2BIG   = unix.E2BIG
	EACCES  = unix.EACCES
	ENOMEM  = unix.ENOMEM
	EINVAL  = unix.EINVAL
	ENODEV  = unix.ENODEV
	ENXIO   = unix.ENXIO
	ELOOP   = unix.ELOOP
	ENOEXEC = unix.ENOEXEC
	EROFS   = unix.EROFS
	EXDEV   = unix.EXDEV
	ENOTDIR = unix.ENOTDIR
	EPERM   = unix.EPERM
	ESRCH   = unix.ESRCH
	EEXIST  = unix.EEXIST
	ENOENT  = unix.ENOENT
	ENOSPC  = unix.ENOSPC
	EMFILE  = unix.EMFILE
	ENFILE  = unix.ENFILE
	EDQUOT  = unix.EDQUOT

	ENAMETOOLONG = unix.ENAMETOOLONG
	ENOTCONN     = unix.ENOTCONN
)

// Cwd stands for the working directory where a directory descriptor is taken.
const Cwd = unix.AT_FDCWD

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Close closes a descriptor of this package. Its error says nothing about
// what was written and is dropped.
func Close(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
