package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/source"
)

// work is what the pulls of a process share.
type work struct {
	layers flights[storedLayer]
	files  flights[pulledFile]
	// slots bound the layers that are converted at once, in all pulls.
	slots chan struct{}

	mu    sync.Mutex
	bench *bench // of the pulls under way; nil if there is none
	users int
}

// bench is the directory in ingest/ where a process works. Files that are complete
// are named by what they are, with the suffix of SIF files. As long as the lock is
// held no other process takes them for something left behind.
type bench struct {
	dir  string
	lock *os.File
	// resume says that what is complete should wait for another try. Guarded by
	// work.mu.
	resume bool
}

// path is where the bench has a complete file.
func (b *bench) path(digits string) string { return filepath.Join(b.dir, digits+sifSuffix) }

// enterWork begins a pull: what it makes stays on the bench until leaveWork.
func (s *Store) enterWork(ctx context.Context) (*bench, error) {
	s.work.mu.Lock()
	if s.work.bench != nil {
		s.work.users++
		defer s.work.mu.Unlock()
		return s.work.bench, nil
	}
	s.work.mu.Unlock()
	made, err := s.newBench(ctx)
	if err != nil {
		return nil, err
	}
	s.work.mu.Lock()
	s.work.users++
	if s.work.bench == nil {
		s.work.bench, made = made, nil
	}
	shared := s.work.bench
	s.work.mu.Unlock()
	if made != nil {
		return shared, made.remove()
	}
	return shared, nil
}

func (s *Store) newBench(ctx context.Context) (*bench, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	dir, err := os.MkdirTemp(filepath.Join(s.dir, ingestDir), "pull-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	if b.lock, err = os.Open(dir); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if _, err := linux.TryLock(b.lock); err != nil && !errors.Is(err, linux.ErrNoLocks) {
		return nil, errors.Join(err, b.remove())
	}
	return b, nil
}

func (b *bench) remove() error { return errors.Join(os.RemoveAll(b.dir), b.lock.Close()) }

// leaveWork ends a pull. With the last one the bench goes. resume says that this pull
// should go on where it ended when it is tried again.
func (s *Store) leaveWork(resume bool) error {
	s.work.mu.Lock()
	s.work.users--
	s.work.bench.resume = s.work.bench.resume || resume
	var last *bench
	if s.work.users == 0 {
		last, s.work.bench = s.work.bench, nil
	}
	s.work.mu.Unlock()
	if last == nil {
		return nil
	}
	var err error
	if last.resume {
		err = s.salvage(last.dir)
	}
	return errors.Join(err, last.remove())
}

// shared is an image at its source that is closed by the last who needs it.
type shared struct {
	*source.Image
	users atomic.Int64
}

// newShared tells read, if it is not nil, of all bytes that are read of the image's blobs.
func newShared(i *source.Image, read func(bytes int64)) *shared {
	if i.Blobs != nil && read != nil {
		i.Blobs = metered{i.Blobs, read}
	}
	s := &shared{Image: i}
	s.users.Store(1)
	return s
}

// metered are blobs that say how much is read of them.
type metered struct {
	source.Blobs
	read func(bytes int64)
}

// Open reads a blob from offset on, as that of the blobs themselves.
func (m metered) Open(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	blob, err := m.Blobs.Open(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	return meteredBlob{blob, m.read}, nil
}

type meteredBlob struct {
	io.ReadCloser
	read func(bytes int64)
}

func (b meteredBlob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read(int64(n))
	}
	return n, err
}

func (s *shared) retain() { s.users.Add(1) }

func (s *shared) release() error {
	if s.users.Add(-1) > 0 || s.Blobs == nil {
		return nil
	}
	return s.Blobs.Close()
}

// counted reports how much there is with what was read.
func counted(r io.Reader, done int64, report func(done int64)) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		if n > 0 {
			done += int64(n)
			report(done)
		}
		return n, err
	})
}

// known is a hash as the store writes it, empty if there is none.
func known(h v1.Hash) string {
	if h == (v1.Hash{}) {
		return ""
	}
	return h.String()
}
