// Package fuse serves a squashfs file system through FUSE, on a descriptor of /dev/fuse
// whose file system somebody else has mounted already.
//
// It keeps nothing about what the kernel knows of the file system: the number by which the
// kernel calls an inode is the place of that inode in the image. So nothing has to be
// forgotten, no file is open, and the kernel, which is told that nothing ever changes, is
// asked once for everything. The kernel is trusted, the image is not. It writes no file,
// and the process may be confined to reading and answering before it serves.
package fuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/unsquash"
)

// Options are how the file system is to look.
type Options struct {
	// UID and GID own all files; nil leaves the owners that the image has.
	UID, GID *uint32
	// NoteOwners tells the owners that the image has in attributes: see linux.OwnerNote.
	NoteOwners bool
	// ListTrusted lists "trusted." attributes, which nobody in a user namespace may read.
	ListTrusted bool
	// Complain is told of what the image has wrong; several may call it at once.
	Complain func(error)
}

// Server answers the kernel.
type Server struct {
	fs  *unsquash.Reader
	dev linux.FD
	o   Options

	// blocks is outside of Go's heap, so that it can be given back.
	blocks []byte
	// noOpen and noOpenDir say that the kernel needs no answer to opening something.
	noOpen, noOpenDir atomic.Bool
	resume            resume
	habit             habit

	// waiting are those who wait in the kernel for a request; others wait for wake.
	serving atomic.Bool
	waiting atomic.Int32
	wake    chan struct{}
	end     chan error

	mu      sync.Mutex
	workers []*worker

	// busy is held for reading by those who answer, and to give memory back.
	busy    sync.RWMutex
	served  atomic.Uint64
	watched atomic.Bool
}

const (
	headSize = 16 // of an answer
	// The kernel refuses to be read with less.
	requestSize = 8192
	// The most that is read or listed at once.
	maxRead  = 256 << 10
	pageSize = 4096
	// What unpacked blocks may take, if that is a few.
	blockMemory = 4 << 20
	minBlocks   = 4

	minWorkers, maxWorkers = 4, 16
	quietSeconds           = 5
)

// worker is a thread that answers one request after another.
type worker struct {
	*Server
	in  [requestSize]byte
	out []byte
	// info is the inode that was asked for last, child one that was listed.
	info, child unsquash.Info
}

// New is a server of a file system.
func New(fs *unsquash.Reader, o Options) (*Server, error) {
	s := &Server{fs: fs, dev: linux.NoFD, o: o, wake: make(chan struct{}), end: make(chan error, 1)}
	var err error
	each := fs.BlockSize() + unsquash.Slack
	if s.blocks, err = linux.Scratch(each * max(blockMemory/fs.BlockSize(), minBlocks)); err != nil {
		return nil, err
	}
	fs.KeepBlocks(s.blocks)
	fs.BeforeLong(s.another)
	return s, nil
}

// Preload unpacks the first of some files that is there, as far as that is kept.
func (s *Server) Preload(names []string) {
	const keep = 4 // of so many blocks one is left for others
	for _, name := range names {
		if s.fs.Preload(name, int64(len(s.blocks)-len(s.blocks)/keep)) {
			return
		}
	}
}

// Serve answers on dev until nobody has the file system mounted any more. It returns once,
// for good: threads may still wait in the kernel.
func (s *Server) Serve(dev linux.FD) error {
	s.dev = dev
	s.serving.Store(true)
	if err := s.hire(); err != nil {
		return err
	}
	return <-s.end
}

// hire starts another worker, unless there are enough.
func (s *Server) hire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.workers) >= min(max(minWorkers, 2*goruntime.NumCPU()), maxWorkers) {
		return nil
	}
	out, err := linux.Scratch(headSize + maxRead + pageSize)
	if err != nil {
		return err
	}
	w := &worker{Server: s, out: out}
	s.workers = append(s.workers, w)
	s.waiting.Add(1)
	go w.work()
	return nil
}

// work answers until there is nothing to be asked any more.
func (w *worker) work() {
	for {
		n, err := w.dev.Read(w.in[:])
		switch {
		case errors.Is(err, linux.ErrNoEntry), errors.Is(err, linux.ErrAgain): // it was taken back
			continue
		case errors.Is(err, linux.ErrNoDevice):
			err = nil
		}
		if err != nil || n == 0 {
			select {
			case w.end <- err:
			default:
			}
			return
		}
		w.waiting.Add(-1)
		w.serve(w.in[:n])
		if w.waiting.Add(1) > 1 {
			w.waiting.Add(-1)
			<-w.wake
			w.waiting.Add(1)
		}
	}
}

// another has somebody else wait for the next request: who calls it has one that takes a
// while. One after the other is answered by the same thread otherwise, as long as it can: to
// wake others takes longer than most answers do. Without anybody requests wait for those who
// are busy.
func (s *Server) another() {
	if !s.serving.Load() || s.waiting.Load() > 0 {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
		if err := s.hire(); err != nil {
			s.o.Complain(err) // those who are there go on
		}
	}
}

// serve answers one request.
func (w *worker) serve(request []byte) {
	w.busy.RLock()
	defer w.busy.RUnlock()
	w.served.Add(1)
	if !w.watched.Load() && w.watched.CompareAndSwap(false, true) {
		go w.rest()
	}
	answer := w.answer(request)
	if answer == nil {
		return
	}
	// The kernel takes no answer to what it has given up.
	_, _ = w.dev.Write(answer)
}

// rest waits until nothing was asked for a while, and gives memory back.
func (s *Server) rest() {
	for before := s.served.Load(); ; {
		linux.Nap(quietSeconds)
		now := s.served.Load()
		if now == before {
			break
		}
		before = now
	}
	s.busy.Lock()
	defer s.busy.Unlock()
	s.watched.Store(false)
	s.fs.Drop()
	s.resume.drop()
	_ = linux.DropScratch(s.blocks) // it only stays
	s.mu.Lock()
	for _, w := range s.workers {
		_ = linux.DropScratch(w.out) // as above
	}
	s.mu.Unlock()
	goruntime.GC() // what pools keep goes at the second
	debug.FreeOSMemory()
}

// answer is what is written to the kernel for a request, nil for nothing.
func (w *worker) answer(request []byte) (answer []byte) {
	if len(request) < requestHead {
		return nil
	}
	le := binary.NativeEndian
	r := parse(request)
	defer func() {
		if p := recover(); p != nil {
			w.o.Complain(fmt.Errorf("request %d: %v", r.op, p))
			answer = w.failed(r, errIO)
		}
	}()
	n, err := w.handle(r, w.out[headSize:])
	switch {
	case errors.Is(err, errNoAnswer):
		return nil
	case err != nil:
		return w.failed(r, w.number(r, err))
	}
	answer = w.out[:headSize+n]
	le.PutUint32(answer, uint32(len(answer)))
	le.PutUint32(answer[4:], 0)
	le.PutUint64(answer[8:], r.unique)
	return answer
}

func (w *worker) failed(r request, number errno) []byte {
	le := binary.NativeEndian
	le.PutUint32(w.out, headSize)
	le.PutUint32(w.out[4:], uint32(-number)) //nolint:gosec // as the kernel wants it
	le.PutUint64(w.out[8:], r.unique)
	return w.out[:headSize]
}
