package runtime

import (
	"errors"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	// warmTime is how long an image stays mounted, out of sight, after the last
	// container was started from it: the next one finds its pages in memory.
	warmTime = time.Minute
	// warmImages bounds how many are kept so.
	warmImages = 64
)

// warmth keeps images that were used just now mounted, so that a pod that
// follows another need not read and unpack the same blocks again.
type warmth struct {
	log *slog.Logger

	mu     sync.Mutex
	images map[string]*warmImage
	closed bool
}

type warmImage struct {
	once   sync.Once // guards mounts
	mounts []*os.File
	cool   *time.Timer
}

// prereadLimit bounds how much of a program is read ahead of its start.
const prereadLimit = 4 << 20

// holdImage mounts an image's file systems out of sight. What can't be mounted
// is left out, with the reason: the container that needs it will say so.
func holdImage(extents []program.Extent, direct bool) (mounts []*os.File, err error) {
	for _, e := range extents {
		if e.FS != "squashfs" {
			continue
		}
		mount, merr := linux.HoldImage(e.Path, e.FS, e.Offset, e.Size, direct, e.Label, e.Exact)
		if merr != nil {
			err = errors.Join(err, merr)
			continue
		}
		mounts = append(mounts, mount)
	}
	return mounts, err
}

// lockLayers keeps a store from removing directories that are layers, until the files are
// closed. No pin does for a run that leaves no record. What can't be opened the container
// that needs it will tell of.
func lockLayers(extents []program.Extent) (locks []*os.File) {
	for _, e := range extents {
		if e.FS != "directory" {
			continue
		}
		if dir, err := os.Open(e.Path); err == nil {
			_, _ = linux.TryShare(dir)
			locks = append(locks, dir)
		}
	}
	return locks
}

// preread brings a program into memory: it is unpacked while its container is
// being made, not after. The program is looked for where it is likely to be; a
// wrong guess costs a look-up.
func preread(mounts []*os.File, command string) {
	for _, mount := range slices.Backward(mounts) {
		for _, name := range likely(command) {
			if linux.Preread(int(mount.Fd()), name, prereadLimit) {
				return
			}
		}
	}
}

// likely is where a command is likely to be.
func likely(command string) (names []string) {
	switch {
	case command == "":
	case strings.Contains(command, "/"):
		names = append(names, path.Join("/", command))
	default:
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			names = append(names, path.Join(dir, command))
		}
	}
	return names
}

// keepWarm keeps the image of a container that starts mounted for a while, if we may mount it.
func (e *Engine) keepWarm(rec *containerRecord) {
	if e.cfg.Unprivileged == nil {
		e.warm.keep(rec.Image.ID, labelled(rec.Image.Extents, rec.Labels.Image))
	}
}

// keep mounts an image out of sight, or lets it stay so for longer. It never
// keeps a container from starting: an image that can't be mounted says so there.
func (w *warmth) keep(id string, extents []program.Extent) {
	w.mu.Lock()
	image := w.images[id]
	switch {
	case image != nil:
		image.cool.Reset(warmTime)
	case w.closed || len(w.images) >= warmImages:
		w.mu.Unlock()
		return
	default:
		image = &warmImage{cool: time.AfterFunc(warmTime, func() { w.drop(id) })}
		if w.images == nil {
			w.images = map[string]*warmImage{}
		}
		w.images[id] = image
	}
	w.mu.Unlock()
	image.once.Do(func() {
		var err error
		if image.mounts, err = holdImage(extents, true); err != nil {
			w.log.Debug("image is not kept in memory", "image", id, "error", err)
		}
	})
}

func (w *warmth) drop(id string) {
	w.mu.Lock()
	image := w.images[id]
	delete(w.images, id)
	w.mu.Unlock()
	if image == nil {
		return
	}
	image.cool.Stop()
	image.once.Do(func() {}) // wait for a mount under way; none begins any more
	var errs []error
	for _, mount := range image.mounts {
		errs = append(errs, mount.Close())
	}
	if err := errors.Join(errs...); err != nil {
		w.log.Debug("image mount", "image", id, "error", err)
	}
}

// close lets go of everything; nothing is kept from then on.
func (w *warmth) close() {
	w.mu.Lock()
	w.closed = true
	ids := make([]string, 0, len(w.images))
	for id := range w.images {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	for _, id := range ids {
		w.drop(id)
	}
}
