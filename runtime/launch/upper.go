package launch

import (
	"errors"
	"os"
	"path"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// mountUpper mounts a file system that keeps changes in the scratch space and returns the
// directories for the overlay, which are made if they are not there.
func (s *stage) mountUpper(e *program.Extent) (upper, work int, err error) {
	image, err := linux.Open(e.Path, os.O_RDWR)
	if err != nil {
		return -1, -1, err
	}
	defer linux.Close(image)
	// The device holds the open file, and so the lock, until it goes.
	if err := lockImage(image, false); err != nil {
		return -1, -1, err
	}
	loop, err := linux.AttachWritableLoop(image, e.Offset, e.Size)
	if err != nil {
		return -1, -1, err
	}
	defer loop.Close()
	options := []string{"errors=remount-ro", "source=" + loop.Device()}
	if e.Label != "" {
		options = append(options, "context="+e.Label)
	}
	mount, err := linux.NewMount(e.FS, options, linux.Attr{})
	if err != nil {
		return -1, -1, err
	}
	defer linux.Close(mount)
	if err := s.mapLayer(mount, e.FS); err != nil {
		return -1, -1, err
	}
	_, at, err := s.scratchDir()
	if err != nil {
		return -1, -1, err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(mount, at); err != nil {
		return -1, -1, err
	}
	if upper, err = upperDir(mount, "upper"); err != nil {
		return -1, -1, err
	}
	work, err = upperDir(mount, "work")
	return upper, work, err
}

func upperDir(mount int, name string) (int, error) {
	if err := linux.Mkdir(mount, name, 0o755); err != nil {
		return -1, err
	}
	return linux.OpenPlain(mount, name, linux.OPath|linux.ODirectory, 0)
}

// lockUpper keeps others from a directory that the container changes, or that somebody else
// does: whoever started the stage holds the lock from now on. What the engine has made for
// the container alone is volatile.
func (s *stage) lockUpper() error {
	r := &s.p.Root
	if r.Volatile {
		return nil
	}
	dir, err := linux.Open(path.Dir(r.Upper), linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(dir)
	if err := lockImage(dir, r.Readonly); err != nil {
		return err
	}
	_, err = linux.FD(statusFD).SendFDs([]byte{program.LockMark}, linux.FD(dir))
	return err
}

var errImageInUse = errors.New("another container changes it, or uses it while it must not be changed")

// lockImage keeps others from a file system that one writes to. What another container had
// mounted goes a moment after that.
func lockImage(image int, share bool) error {
	const (
		pause = 20 * time.Millisecond
		tries = 150
	)
	for range tries {
		ok, err := linux.TryLockFD(image, share)
		switch {
		case ok, errors.Is(err, linux.ErrNoLocks):
			return nil
		case err != nil:
			return err
		}
		<-time.After(pause)
	}
	return errImageInUse
}
