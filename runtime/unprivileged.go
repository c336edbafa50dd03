package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// Unprivileged is how containers are made by somebody who is not root: in a user
// namespace, with squashfs file systems served by a program through FUSE.
type Unprivileged struct {
	// Root says that they are root in the user namespace; MapIDs maps its ids, see
	// linux.NewOwnNamespaces.
	Root   bool
	MapIDs func(ctx context.Context, proc string) error
	// Inside says that the caller is in such a user namespace already, as its root, and
	// has a mount namespace that belongs to it.
	Inside  bool
	FUSE    supervisor.FUSE
	Network network.UserMode
	// Unpack, if not nil, puts squashfs file systems into directories: nothing is served.
	Unpack func(ctx context.Context, extents []program.Extent) (*Unpacked, error)
}

// Own makes a user namespace, and namespaces that belong to it.
func (u *Unprivileged) Own(ctx context.Context, flags uintptr) (*linux.OwnNamespaces, error) {
	return linux.NewOwnNamespaces(func(proc string) error { return u.MapIDs(ctx, proc) }, u.Root, flags)
}

// openBinary opens siflet-instance. Root keeps its containers from writing to it; others
// can keep nobody from that who may not write to it anyway.
func (u *Unprivileged) openBinary(path string) (*os.File, error) {
	if u != nil {
		return os.Open(path)
	}
	return supervisor.OpenBinary(path)
}

// readReport reads what a stage says until its end, which is the exec, or its own. It
// serves file systems that the stage asks for, which is killed if that does not work.
func (o *once) readReport(report linux.FD, child *linux.Child) (text []byte, err error) {
	if text, err = o.listen(report); err != nil {
		_ = child.Kill() // it may have ended
	}
	return text, err
}

func (o *once) listen(report linux.FD) (text []byte, err error) {
	buffer := make([]byte, maxReport)
	for {
		if err := report.AwaitInput(-1); err != nil {
			return text, err
		}
		n, fds, err := report.ReceiveFDs(buffer)
		switch {
		case errors.Is(err, linux.ErrAgain):
			continue
		case err != nil:
			return text, err
		case n == 0:
			return text, nil
		case len(fds) == 0:
			if text = append(text, buffer[:n]...); len(text) > maxReport {
				return text, errors.New("it is too long")
			}
			continue
		}
		if buffer[0] == program.LockMark {
			o.locks = append(o.locks, fds...)
			continue
		}
		err = o.serve(buffer[:n], fds)
		for _, fd := range fds {
			err = errors.Join(err, fd.Close())
		}
		if err != nil {
			return text, err
		}
	}
}

func (o *once) serve(message []byte, fds []linux.FD) error {
	if message[0] == program.HoldMark {
		return nil // we hold it ourselves, to the end
	}
	if len(fds) != 2 || message[0] != program.FUSEMark || o.cfg.Unprivileged == nil {
		return fmt.Errorf("not understood: %q with %d descriptors", message, len(fds))
	}
	return o.serveFUSE(string(message[1:]), fds[0], fds[1])
}
