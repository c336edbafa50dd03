package runtime

import (
	"errors"
	"log/slog"
	"os"
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
	image.once.Do(func() { image.mounts = w.mount(id, extents) })
}

func (w *warmth) mount(id string, extents []program.Extent) (mounts []*os.File) {
	for _, e := range extents {
		if e.FS != "squashfs" {
			continue
		}
		mount, err := linux.HoldImage(e.Path, e.FS, e.Offset, e.Size)
		if err != nil {
			w.log.Debug("image is not kept in memory", "image", id, "error", err)
			continue
		}
		mounts = append(mounts, mount)
	}
	return mounts
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
