package supervisor

import (
	"errors"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const graceTime = 10 * time.Second

// ending is the state of the instance's end.
type ending struct {
	asked   bool // by a signal: containers may take their time
	begun   bool // everything is being killed
	final   bool // nothing is started again
	signal  int  // that was asked by
	pending int  // cgroups not known to be empty
	err     error
	clients []*conn
	timer   *timer
}

// terminate is a shutdown with a grace period, which does not get longer when it is
// asked for again.
func (s *server) terminate(signal int, grace time.Duration) {
	if s.end.begun {
		return
	}
	if !s.end.asked {
		s.end.timer = s.loop.after(grace, func() { s.shutdown(nil) })
	} else if at := time.Now().Add(grace); at.Before(s.end.timer.at) {
		s.end.timer.at = at
	}
	s.end.asked, s.end.signal = true, signal
	for _, c := range slices.Clone(s.containers) {
		c.svc.cancel()
		switch {
		case c.booted() && c.running():
			_ = c.main.signal(signal) // it is an init, and knows what to do about the others
		case c.running() || c.svc != nil:
			_, _ = c.signalAll(signal)
		}
	}
	s.progress()
}

// shutdown kills what is left. The client, if any, is answered when nothing
// is, and then the supervisor ends.
func (s *server) shutdown(client *conn) {
	if client != nil {
		client.gone = nil // the end does not depend on who asked
		s.end.clients = append(s.end.clients, client)
	}
	if s.end.begun {
		return
	}
	s.end.begun = true
	s.loop.stop(s.end.timer)
	deadline := time.Now().Add(killTime)
	s.end.timer = s.loop.after(killTime+time.Second, func() {
		s.end.err = errors.Join(s.end.err, errors.New("gave up waiting"))
		s.finished()
	})
	for _, c := range slices.Clone(s.containers) {
		c.svc.cancel()
		if c.main.alive() && !c.main.settled {
			c.main.abandon()
		}
		_ = c.main.signal(linux.SignalKill)
		s.end.pending++
		c.killAll(deadline, func(err error) {
			s.end.err = errors.Join(s.end.err, err)
			s.end.pending--
			if c.svc != nil {
				c.svc.look()
			}
			s.progress()
		})
	}
	for _, x := range s.execs {
		_ = x.signal(linux.SignalKill)
	}
	s.dropSpare()
	if s.sinit != nil {
		_ = s.sinit.signal(linux.SignalKill)
	}
	s.progress()
}

// progress looks whether an end under way is complete.
func (s *server) progress() {
	if !s.end.asked && !s.end.begun {
		return
	}
	for _, c := range s.containers {
		// Somebody may have started more in a person's instance than its service.
		if c.exit == nil || c.svc != nil && !s.end.begun && c.svc.left() {
			return
		}
	}
	if !s.end.begun {
		s.shutdown(nil)
		return
	}
	if s.end.pending > 0 || len(s.execs) > 0 || s.sinit != nil && s.sinit.alive() {
		return
	}
	s.finished()
}

func (s *server) finished() {
	if s.loop.done {
		return
	}
	s.loop.done = true
	s.link.end()
	for _, c := range s.end.clients {
		if s.end.err != nil {
			c.fail(failed("shutdown", s.end.err))
			continue
		}
		c.reply(&Reply{})
	}
}
