package runtime

import (
	"context"
	"math"
	"os"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/supervisor"
)

// checkUser says whether the namespaces go together with a user namespace.
func (n *Namespaces) checkUser() error {
	if n.User == nil {
		return nil
	}
	for _, m := range []struct {
		what string
		ids  program.IDMap
	}{{"user", n.User.UIDs}, {"group", n.User.GIDs}} {
		switch last := uint64(m.ids.Host) + uint64(m.ids.Length) - 1; {
		case m.ids.Length == 0:
			return errorf(ErrInvalid, "user namespace: no %s ids are mapped", m.what)
		case m.ids.Container != 0:
			return errorf(ErrInvalid, "user namespace: %s id 0 is not mapped", m.what)
		case last >= math.MaxUint32:
			return errorf(ErrInvalid, "user namespace: %s ids are mapped up to %d; %d is the last there is", m.what, last, uint32(math.MaxUint32-1))
		}
	}
	switch {
	case n.PID == ModeHost:
		return errorf(ErrInvalid, "the node's PID namespace can't be used in a user namespace")
	case n.IPC == ModeHost:
		return errorf(ErrInvalid, "the node's IPC namespace can't be used in a user namespace")
	}
	return nil
}

// hiddenBinary is siflet-instance for instances with user namespaces of their own, made
// when the first one comes. The zero value works.
type hiddenBinary struct {
	mu   sync.Mutex
	file *os.File
}

func (h *hiddenBinary) open(binary *os.File) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		file, err := supervisor.HideBinary(binary)
		if err != nil {
			return nil, err
		}
		h.file = file
	}
	return h.file, nil
}

func (h *hiddenBinary) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		_ = h.file.Close() // in memory
	}
}

// noHooksInside refuses hooks where they can't be run as they expect: their bundle is
// beyond the reach of a user namespace's root.
func noHooksInside(h *specs.Hooks, n *Namespaces) error {
	if n.User == nil || h == nil {
		return nil
	}
	return errorf(ErrInvalid, "hooks (of CDI devices or NRI plugins) are not supported in a pod with a user namespace of its own")
}

// UserNamespaces returns nil if instances can have user namespaces of their own
// on this node, or else why not.
func (e *Engine) UserNamespaces() error { return e.mapping() }

// probeMapping tries it, with an image that has nothing in it.
func probeMapping() error {
	fd, err := linux.MemFile("probe", nil)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "probe")
	defer f.Close() //nolint:errcheck // in memory
	w, err := squashfs.New(context.Background(), f, squashfs.Options{Compression: squashfs.None, Workers: 1})
	if err != nil {
		return err
	}
	size, err := w.Close()
	if err != nil {
		return err
	}
	const block = 4096 // what a loop device shows is whole blocks
	size = (size + block - 1) / block * block
	if err := f.Truncate(size); err != nil {
		return err
	}
	return linux.ProbeMapping(int(f.Fd()), size, "squashfs")
}
