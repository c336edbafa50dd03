package supervisor

import (
	"errors"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// A source is told when its descriptor is ready. Calls may be spurious:
// every read and write is non-blocking.
type source interface{ ready(events uint32) }

// loop runs everything on one thread. Sources and timers call each other
// directly; nothing needs a lock.
type loop struct {
	epoll   *linux.Epoll
	sources []source // by descriptor
	timers  []*timer
	done    bool
}

type timer struct {
	at   time.Time
	fire func()
}

func newLoop() (*loop, error) {
	e, err := linux.NewEpoll()
	if err != nil {
		return nil, err
	}
	return &loop{epoll: e}, nil
}

// watch registers a descriptor; events may be 0 to hear of hangups only.
func (l *loop) watch(fd linux.FD, events uint32, s source) error {
	if err := l.epoll.Add(fd, events); err != nil {
		return err
	}
	for len(l.sources) <= int(fd) {
		l.sources = append(l.sources, nil)
	}
	l.sources[fd] = s
	return nil
}

// want changes what a registered descriptor waits for.
func (l *loop) want(fd linux.FD, events uint32) { _ = l.epoll.Set(fd, events) }

// unwatch forgets a descriptor that stays open. An unregistered one is fine.
func (l *loop) unwatch(fd linux.FD) {
	if fd >= 0 && int(fd) < len(l.sources) && l.sources[fd] != nil {
		l.sources[fd] = nil
		_ = l.epoll.Remove(fd)
	}
}

// close unregisters and closes *fd, and makes it NoFD.
func (l *loop) close(fd *linux.FD) {
	if *fd != linux.NoFD {
		l.unwatch(*fd)
		_ = fd.Close()
		*fd = linux.NoFD
	}
}

// after calls fire once, unless the timer is stopped before.
func (l *loop) after(d time.Duration, fire func()) *timer {
	t := &timer{at: time.Now().Add(d), fire: fire}
	l.timers = append(l.timers, t)
	return t
}

// stop is safe for nil and for a timer that has fired.
func (l *loop) stop(t *timer) {
	if i := slices.Index(l.timers, t); i >= 0 {
		l.timers = slices.Delete(l.timers, i, i+1)
	}
}

// run serves until done is set.
func (l *loop) run() error {
	for !l.done {
		ready, err := l.epoll.Wait(l.runTimers())
		if err != nil {
			return err
		}
		for _, r := range ready {
			if s := l.source(r.FD); s != nil {
				s.ready(r.Events)
			}
		}
	}
	return nil
}

func (l *loop) source(fd linux.FD) source {
	if fd < 0 || int(fd) >= len(l.sources) {
		return nil
	}
	return l.sources[fd]
}

// runTimers fires what is due and returns the time to the next, -1 for none.
func (l *loop) runTimers() time.Duration {
	for !l.done {
		if len(l.timers) == 0 {
			return -1
		}
		first := l.timers[0]
		for _, t := range l.timers[1:] {
			if t.at.Before(first.at) {
				first = t
			}
		}
		if d := time.Until(first.at); d > 0 {
			return d
		}
		l.stop(first)
		first.fire()
	}
	return 0
}

// again reports whether err only means to come back later.
func again(err error) bool { return errors.Is(err, linux.ErrAgain) }
