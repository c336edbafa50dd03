// Command siflet-fuse serves the squashfs file system in an image through FUSE, for those
// who can't mount it. It is called as squashfuse_ll is:
//
//	siflet-fuse -f -o offset=N[,uid=U,gid=G[,owners]] IMAGE /dev/fd/K [FILE...]
//
// Descriptor K is /dev/fuse, opened by the caller, who has made the mount, or a socket on
// which that comes. It serves in the foreground, until nobody has the file system mounted any
// more or its parent ends. The first FILE in the image that is there will be read: it is
// unpacked before anybody asks.
//
//go:debug containermaxprocs=0
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/siflet/siflet/runtime/fuse"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/unsquash"
)

const (
	exitFailed = 1
	exitUsage  = 254 // as squashfuse_ll
)

func main() {
	// The signal that comes when the parent ends is this thread's.
	goruntime.LockOSThread()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	a, err := parseArguments(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "siflet-fuse: %v\nusage: siflet-fuse -f -o offset=N[,uid=U,gid=G] IMAGE /dev/fd/K [FILE...]\n", err)
		return exitUsage
	}
	if err := serve(a); err != nil {
		fmt.Fprintf(os.Stderr, "siflet-fuse: %s: %v\n", a.image, err)
		return exitFailed
	}
	return 0
}

// serve serves the file system until it is not mounted any more.
func serve(a arguments) error {
	const percent, most = 50, 64 << 20
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(most)
	// Those who wait in the kernel keep what a thread needs to run Go's code if there is
	// enough of it; otherwise it is taken from them, again and again.
	const spare = 6
	goruntime.GOMAXPROCS(goruntime.NumCPU() + spare)
	image, err := open(a.image)
	if err != nil {
		return err
	}
	trusted := linux.InInitialUserNamespace()
	if err := linux.CloseAllBut(image, a.device, linux.FD(2)); err != nil {
		return err
	}
	later := a.device.IsSocket()
	if err := errors.Join(linux.EndWithParent(), a.device.SetBlocking()); err != nil {
		return err
	}
	size, err := image.Extent()
	if err != nil {
		return err
	}
	if a.offset > size {
		return fmt.Errorf("offset %d is behind its end at %d", a.offset, size)
	}
	if err := linux.ConfineServer(); err != nil {
		return err
	}
	files, err := unsquash.NewReader(io.NewSectionReader(image, a.offset, size-a.offset), size-a.offset)
	if err != nil {
		return err
	}
	var complaints atomic.Int32
	server, err := fuse.New(files, fuse.Options{
		UID: a.uid, GID: a.gid, NoteOwners: a.owners, ListTrusted: trusted,
		Complain: func(err error) {
			const enough = 16
			if complaints.Add(1) <= enough {
				fmt.Fprintf(os.Stderr, "siflet-fuse: %s: %v\n", a.image, err)
			}
		},
	})
	if err != nil {
		return err
	}
	if len(a.preload) > 0 {
		go server.Preload(a.preload)
	}
	if !later {
		return server.Serve(a.device)
	}
	device, err := a.device.AwaitFD()
	if err != nil || device == linux.NoFD {
		return err // nobody wants it after all
	}
	return server.Serve(device)
}

// open opens the image. One that is open already need not be reachable by a name.
func open(name string) (linux.FD, error) {
	if fd, ok := descriptor(name, "/proc/self/fd/", "/dev/fd/"); ok && !fd.IsPath() {
		return fd, nil
	}
	return linux.OpenRead(name)
}
