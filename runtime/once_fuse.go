package runtime

import (
	"context"
	"errors"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// readyServer is one that waits for the launch stage to ask for it.
type readyServer struct {
	*supervisor.FUSEServer

	options string
	image   linux.Stat
}

// readyServers starts what will serve the image before the launch stage asks, so that it has
// read what the process will need by then. What does not work is for the stage to tell. The
// thread that calls it outlives them.
func (o *once) readyServers(spec *ContainerSpec) {
	const most = 4 // they are started one after another
	if len(o.image.Extents) > most {
		return
	}
	command := ""
	if len(spec.Command) > 0 {
		command = spec.Command[0]
	}
	for _, e := range o.image.Extents {
		if e.FS != "squashfs" {
			continue
		}
		image, err := linux.OpenRead(e.Path)
		if err != nil {
			continue
		}
		r := readyServer{options: squashfuseOptions(e.Offset)}
		if r.image, err = linux.Fstat(int(image)); err == nil && r.image.IsRegular() {
			r.FUSEServer, err = o.cfg.Unprivileged.FUSE.Ready(r.options, image, likely(command))
		}
		if _ = image.Close(); err == nil && r.FUSEServer != nil { // it was only read
			o.ready = append(o.ready, r)
		}
	}
}

// squashfuseOptions are those that the stage asks with.
func squashfuseOptions(offset int64) string { return "offset=" + strconv.FormatInt(offset, 10) }

// takeReady is a server that is ready for what the stage asks for; nil is none.
func (o *once) takeReady(options string, image linux.FD) *supervisor.FUSEServer {
	asked, err := linux.Fstat(int(image))
	if err != nil {
		return nil
	}
	for i, r := range o.ready {
		if r.options == options && r.image.Dev == asked.Dev && r.image.Ino == asked.Ino {
			o.ready = append(o.ready[:i], o.ready[i+1:]...)
			return r.FUSEServer
		}
	}
	return nil
}

// serveFUSE serves what the stage asks for.
func (o *once) serveFUSE(options string, device, image linux.FD) error {
	if server := o.takeReady(options, image); server != nil {
		o.served = append(o.served, server)
		return server.Give(device)
	}
	server, err := o.cfg.Unprivileged.FUSE.Serve(options, device, image)
	if err == nil {
		o.served = append(o.served, server)
	}
	return err
}

// settleServers ends those that serve file systems: nobody waits for them after ctx.
func (o *once) settleServers(ctx context.Context) (err error) {
	for _, server := range o.served {
		if ctx.Err() != nil {
			_ = server.Kill() // it may have ended
		}
		err = errors.Join(err, server.Settle())
	}
	o.served = nil
	return err
}

// dropReady ends the servers that nobody asked for.
func (o *once) dropReady() {
	for _, r := range o.ready {
		_ = r.Settle() // nobody missed it
	}
	o.ready = nil
}

// unlock lets others have the directory that kept the container's changes.
func (o *once) unlock() {
	for _, lock := range o.locks {
		_ = lock.Close() // nothing is written to it
	}
}
