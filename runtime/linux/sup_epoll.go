package linux

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Ready is a descriptor with something to do.
type Ready struct {
	FD     FD
	Events uint32
}

// Events of an Epoll. Hangups and errors are always reported.
const (
	EventIn  uint32 = unix.EPOLLIN
	EventOut uint32 = unix.EPOLLOUT
	EventHup uint32 = unix.EPOLLHUP | unix.EPOLLERR
)

// Epoll waits for many descriptors, level-triggered.
type Epoll struct {
	fd    int
	raw   [16]unix.EpollEvent
	ready [16]Ready
}

// NewEpoll makes an empty set.
func NewEpoll() (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Epoll{fd: fd}, nil
}

// Add puts f into the set. ErrPerm means a file that can't be waited for.
func (e *Epoll) Add(f FD, events uint32) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, int(f), &unix.EpollEvent{Events: events, Fd: int32(f)})
}

// Set changes the events waited for.
func (e *Epoll) Set(f FD, events uint32) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_MOD, int(f), &unix.EpollEvent{Events: events, Fd: int32(f)})
}

// Remove takes f out of the set; it must still be open.
func (e *Epoll) Remove(f FD) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_DEL, int(f), nil)
}

// Close ends the set.
func (e *Epoll) Close() error { return unix.Close(e.fd) }

// Wait returns what is ready, valid until the next Wait. A negative timeout
// waits for ever.
func (e *Epoll) Wait(timeout time.Duration) ([]Ready, error) {
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, err := unix.EpollWait(e.fd, e.raw[:], ms)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for i := range n {
		e.ready[i] = Ready{FD: FD(e.raw[i].Fd), Events: e.raw[i].Events}
	}
	return e.ready[:n], nil
}
