package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// checkSources makes or misses the host's side of bind mounts, and sees that mounts
// can spread as they are asked to.
func checkSources(mounts []Mount) error {
	for i := range mounts {
		m := &mounts[i]
		if m.Image != "" || m.Optional || m.Type != "" && m.Type != "bind" {
			continue
		}
		_, err := os.Stat(m.Source)
		if errors.Is(err, fs.ErrNotExist) && m.Create {
			err = makeSource(m.Source)
		}
		if err == nil {
			err = checkPeers(m)
		}
		if err != nil {
			return as(ErrInvalid, fmt.Errorf("mount %s: source: %w", m.Target, err))
		}
	}
	return nil
}

func makeSource(source string) error {
	if target, err := os.Readlink(source); err == nil {
		return fmt.Errorf("%s is a symbolic link to %s, which does not exist: %w", source, target, fs.ErrNotExist)
	}
	const mode = 0o755
	return os.MkdirAll(source, mode)
}

// checkPeers refuses to promise what the host can't keep: a mount that is private
// there hears of no other and tells no other.
func checkPeers(m *Mount) error {
	if m.Propagation != "shared" && m.Propagation != "slave" {
		return nil
	}
	fd, err := linux.Open(m.Source, linux.OPath)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	shared, slave, point, err := linux.Peers(fd)
	switch {
	case err != nil:
		return err
	case shared, slave && m.Propagation == "slave":
		return nil
	case m.Propagation == "slave":
		return fmt.Errorf("path %q is mounted on %q, which is neither a shared nor a slave mount; make it one: mount --make-shared %s", m.Source, point, point)
	default:
		return fmt.Errorf("path %q is mounted on %q, which is not a shared mount; make it one: mount --make-shared %s", m.Source, point, point)
	}
}

// volumeFailure marks the failure to mount an image as a volume.
func volumeFailure(mounts []Mount, err error) error {
	failure, ok := errors.AsType[*program.Failure](err)
	if !ok {
		return err
	}
	for i := range mounts {
		step := "mount " + path.Clean(mounts[i].Target)
		if mounts[i].Image != "" && (failure.Step == step || strings.HasPrefix(failure.Step, step+": ")) {
			return as(ErrVolume, classify(err))
		}
	}
	return err
}

// RecursiveReadOnly reports whether this kernel can make a mount read-only together
// with all mounts below it.
func RecursiveReadOnly() bool { return linux.CanSetMountAttributes() }
