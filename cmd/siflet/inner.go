package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// outerHomeVar holds, in a siflet that another has started in a user namespace, the
// caller's home directory: the caller seems to be root there.
const outerHomeVar = "SIFLET_HOME_BEFORE"

// outerVar holds, in such a siflet, the process ID of the outer one, until that is its end.
const outerVar = "SIFLET_OUTER"

// endWithOuter has this siflet killed when the outer one ends.
func endWithOuter() error {
	outer := os.Getenv(outerVar)
	if outer == "" || !linux.InUserNamespace() {
		return nil
	}
	goruntime.LockOSThread() // the signal that comes when the outer one ends is this thread's
	if err := linux.EndWithParent(); err != nil {
		return err
	}
	if strconv.Itoa(os.Getppid()) != outer {
		return errors.New("the siflet that began this is gone")
	}
	return os.Unsetenv(outerVar) // the signal stays, also when this siflet starts again
}

// asOwnRoot runs this very command as root of a user namespace of the caller's, and ends
// as that does. Root, and who is there already, goes on.
func (w *workshop) asOwnRoot(ctx context.Context, files []string) error {
	if os.Geteuid() == 0 {
		return endWithOuter()
	}
	way, err := unprivileged.Find(unprivileged.Options{Root: true})
	if err != nil {
		return err
	}
	p, err := here()
	if err != nil {
		return err
	}
	own, err := way.Own(ctx, 0)
	if err != nil {
		return err
	}
	defer own.Close() //nolint:errcheck // a process of ours that waits
	signals, stop := signalsToPass()
	defer stop()
	code, signal, err := linux.RunInside(own, linux.InsideProcess{
		Args: os.Args, Env: append(os.Environ(), outerHomeVar+"="+p.home, outerVar+"="+strconv.Itoa(os.Getpid())), Files: named(files), Signals: signals,
	})
	if err != nil {
		return err
	}
	return statusError{code: code, signal: signal}
}

// caller is the user who calls, also in a siflet that runs as root of a user namespace.
func caller() (*user.User, error) {
	who, err := accounts.ByID(strconv.Itoa(os.Getuid()))
	if err != nil {
		who, err = unlisted()
	}
	if err != nil {
		return nil, err
	}
	if home := os.Getenv(outerHomeVar); home != "" && linux.InUserNamespace() {
		who.HomeDir = home
	}
	return who, nil
}

// unlisted is a caller whom the machine does not know.
func unlisted() (*user.User, error) {
	uid, home := strconv.Itoa(os.Getuid()), os.Getenv("HOME")
	if home == "" && os.Getenv(configDirVar) == "" {
		return nil, fmt.Errorf("user %s is not in /etc/passwd, and HOME is not set: set it, or %s to a directory for images and instances", uid, configDirVar)
	}
	return &user.User{Uid: uid, Gid: strconv.Itoa(os.Getgid()), Username: cmp.Or(accounts.Claimed(), uid), HomeDir: cmp.Or(home, "/")}, nil
}

// named are the descriptors that names in /dev/fd mean.
func named(files []string) (open []int) {
	for _, name := range files {
		fd, err := strconv.Atoi(strings.TrimPrefix(name, "/dev/fd/"))
		if err == nil && strings.HasPrefix(name, "/dev/fd/") && fd > 2 {
			open = append(open, fd)
		}
	}
	return open
}

// serveImages mounts file systems for a root of a user namespace, who can't use loop
// devices. What serves them ends with the mounts.
func serveImages(fuse supervisor.FUSE) build.MountFunc {
	return func(name, fsType string, offset, _ int64, at string) error {
		if fsType != "squashfs" {
			return fmt.Errorf("%s: file systems of type %s can be mounted by root alone", name, fsType)
		}
		image, err := linux.Open(name, os.O_RDONLY)
		if err != nil {
			return err
		}
		defer linux.Close(image)
		mount, device, err := linux.NewFUSE(linux.Attr{Propagation: linux.Private})
		if err != nil {
			return err
		}
		defer linux.Close(mount, device)
		served := make(chan error)
		go func() {
			goruntime.LockOSThread() // for good: the server dies with the thread
			_, err := fuse.Serve("offset="+strconv.FormatInt(offset, 10), linux.FD(device), linux.FD(image))
			served <- err
			select {}
		}()
		if err := <-served; err != nil {
			return err
		}
		target, err := linux.Open(at, linux.OPath|linux.ODirectory)
		if err != nil {
			return err
		}
		defer linux.Close(target)
		return linux.MoveMount(mount, target)
	}
}
