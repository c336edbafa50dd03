package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"strconv"
	"time"

	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// ProbeName is what the program is called when it is to be Probe.
const ProbeName = "siflet-probe"

// userFiles tries what containers of a user who is not root are made of.
func (m *Machine) userFiles(ctx context.Context) {
	way, err := unprivileged.Find(unprivileged.Options{Root: true})
	if err != nil {
		m.problem("fuse", "", "%v", err)
		return
	}
	if way.Alone != nil {
		m.warn("subuid", "an administrator can give a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; and install the package uidmap",
			"one user alone in a container: %v", way.Alone)
	} else {
		m.ok("subuid", "a range of ids, and newuidmap to map them")
	}
	dir, err := scratch(m.Home)
	if err != nil {
		m.problem("home", "set SIFLET_CONFIGDIR to a directory that can be written", "%v", err)
		return
	}
	defer discard(dir)
	if _, err := writeImage(ctx, dir, "zstd"); err != nil {
		m.problem("home", "", "%v", err)
		return
	}
	own, err := way.Own(ctx, 0)
	if err != nil {
		m.problem("user namespaces", "ask an administrator for them", "%v", err)
		return
	}
	defer own.Close() //nolint:errcheck // a process of ours that waits
	m.ok("user namespaces", "can be made")
	for _, one := range []struct{ what, check, fine, next string }{
		{"overlay", "overlay", "works on " + m.Home, "the home must be on a file system that an overlay can write to; SIFLET_CONFIGDIR names another place"},
		{"fuse", "fuse", "images can be served with " + way.FUSE.Path, "ask an administrator: modprobe fuse; chmod 666 /dev/fuse"},
	} {
		if one.what == "fuse" && way.NoFUSE != nil {
			m.warn(one.check, "", "images are unpacked into a temporary directory each time: %v", way.NoFUSE)
			continue
		}
		m.judge(Problem, one.check, one.next, one.fine, inside(own, one.what, dir, way.FUSE))
	}
}

// inside has Probe run in namespaces, and returns what it says.
func inside(own *linux.OwnNamespaces, what, dir string, server supervisor.FUSE) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // a pipe
	fd := int(w.Fd())
	code, signal, err := linux.RunInside(own, linux.InsideProcess{
		Args: []string{ProbeName, strconv.Itoa(fd), what, dir, server.Path, server.Options}, Env: os.Environ(), Files: []int{fd},
	})
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	const longest = 64 << 10
	text, err := io.ReadAll(io.LimitReader(r, longest))
	switch {
	case err != nil:
		return err
	case len(text) > 0:
		return errors.New(string(text))
	case code != 0 || signal != 0:
		return fmt.Errorf("the attempt ended with status %d, signal %d", code, signal)
	}
	return nil
}

// Probe tries one thing in the namespaces that it was born in. What is wrong it writes to
// the descriptor that is its first argument.
func Probe(args []string) (status int) {
	const want = 5
	var fd int
	if len(args) != want {
		return 1
	}
	if _, err := fmt.Sscan(args[0], &fd); err != nil {
		return 1
	}
	what, dir, server := args[1], args[2], supervisor.FUSE{Path: args[3], Options: args[4]}
	var err error
	if what == "overlay" {
		err = tryOverlay(dir, "userxattr")
	} else {
		err = mountFUSE(dir+"/zstd", server)
	}
	if err == nil {
		return 0
	}
	_ = linux.WriteAll(fd, []byte(err.Error())) // the status says that it failed
	return 1
}

// tryFUSE makes an image in dir and reads it through a server.
func tryFUSE(ctx context.Context, dir string, server supervisor.FUSE) error {
	dir, err := os.MkdirTemp(dir, "fuse")
	if err != nil {
		return err
	}
	path, err := writeImage(ctx, dir, "zstd")
	if err != nil {
		return err
	}
	return mountFUSE(path, server)
}

// mountFUSE mounts an image where nobody sees it, and reads its file.
func mountFUSE(path string, server supervisor.FUSE) error {
	image, err := linux.Open(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer linux.Close(image)
	mount, device, err := linux.NewFUSE(linux.Attr{})
	if err != nil {
		return err
	}
	// The server ends with its parent's thread, and with the mount.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	served, err := server.Serve("offset=0", linux.FD(device), linux.FD(image))
	linux.Close(device)
	if err != nil {
		linux.Close(mount)
		return err
	}
	read := make(chan error, 1)
	go func() { read <- readGreeting(mount) }()
	const patience = 10 * time.Second
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err = <-read:
	case <-timer.C:
		err = errors.Join(fmt.Errorf("%s does not answer", server.Path), served.Kill(), <-read)
	}
	linux.Close(mount)
	return errors.Join(err, served.Settle())
}
