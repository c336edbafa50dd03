package supervisor

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	tidyDelay = time.Second
	// perRequest is about what a request leaves on the heap.
	perRequest = 3 << 10
	// The first collection costs the collector's own 250 kB, so it comes late,
	// if ever; after that nothing is gained by waiting.
	firstCollection = 512 << 10
	nextCollection  = 128 << 10
	// relistenDelay is how long no connection is accepted when descriptors
	// have run out.
	relistenDelay = 100 * time.Millisecond
)

// server is one instance's supervisor.
type server struct {
	cfg        Config
	loop       *loop
	listener   linux.FD
	null       linux.FD // /dev/null on a read-only mount; see openNull
	exe        linux.FD // this program
	shm        linux.FD // mount namespace with the instance's /dev/shm
	user       userns
	sinit      *process
	spare      *spare
	witness    linux.FD // the other end of which sinit has
	containers []*container
	execs      []*execution
	watchers   []*conn
	conns      int
	// inbuf and outbuf are outside of the heap and given back when idle.
	inbuf, outbuf []byte
	tidying       *timer
	// garbage estimates the heap's; it is collected above collectAt.
	garbage, collectAt int
	end                ending
	link               netLink
	held               linux.FD // see hold
}

func (s *server) container(id string) *container {
	for _, c := range s.containers {
		if c.id == id {
			return c
		}
	}
	return nil
}

// drop forgets a container.
func (s *server) drop(c *container) {
	c.release()
	if i := slices.Index(s.containers, c); i >= 0 {
		s.containers = slices.Delete(s.containers, i, i+1)
	}
	s.progress()
}

// tell sends an event to those who watch.
func (s *server) tell(e *Event) {
	for _, w := range slices.Clone(s.watchers) {
		w.send(&Reply{Event: e})
	}
}

func (s *server) status() *Status {
	st := &Status{Version: ProtocolVersion, ID: s.cfg.ID, PID: linux.PID(), NetworkLost: s.link.lost}
	if s.sinit != nil && s.sinit.alive() {
		st.InitPID = s.sinit.pid
	}
	for _, c := range s.containers {
		if c.startedAt.IsZero() {
			continue
		}
		cs := ContainerStatus{ID: c.id, StartedAt: c.startedAt, Exit: c.exit}
		if c.main.alive() {
			cs.PID = c.main.pid
		}
		if c.svc != nil {
			c.svc.report(&cs)
		}
		st.Containers = append(st.Containers, cs)
	}
	return st
}

// openNull opens /dev/null for a container. It can read and write it like any
// other, but not change the mode or owner of the host's.
func (s *server) openNull() (linux.FD, error) { return s.null.OpenAgain() }

// own are the processes that belong to no container.
func (s *server) own() []int {
	if s.sinit == nil {
		return []int{linux.PID()}
	}
	return []int{linux.PID(), s.sinit.pid}
}

// ready makes the server the source of its listening socket.
func (s *server) ready(uint32) { s.accept() }

func (s *server) listenLater() {
	s.loop.unwatch(s.listener)
	s.loop.after(relistenDelay, func() {
		if err := s.loop.watch(s.listener, linux.EventIn, s); err != nil {
			s.complain("listen: " + err.Error())
		}
	})
}

// soon arranges for memory to be given back once things are quiet.
func (s *server) soon() {
	if s.tidying == nil {
		s.tidying = s.loop.after(tidyDelay, s.tidy)
	}
}

func (s *server) tidy() {
	s.tidying = nil
	_ = linux.DropScratch(s.inbuf)
	_ = linux.DropScratch(s.outbuf[:cap(s.outbuf)])
	if s.garbage > s.collectAt {
		s.garbage, s.collectAt = 0, nextCollection
		collect()
	}
}

// complain writes to supervisor.log, which is standard error.
func (s *server) complain(what string) {
	b := time.Now().UTC().AppendFormat(nil, time.RFC3339)
	b = append(b, ' ')
	b = append(b, what...)
	_, _ = linux.FD(2).Write(append(b, '\n'))
}

// Supervise is the supervisor's whole life: it reads a Config from standard
// input, says hello on descriptor 3 and returns when the instance has ended.
// The calling goroutine is locked to its thread, and the process was started
// by Spawn.
func Supervise() error {
	const helloFD linux.FD = 3
	s := &server{listener: linux.NoFD, null: linux.NoFD, exe: linux.NoFD, shm: linux.NoFD, collectAt: firstCollection}
	hello := Hello{Version: ProtocolVersion, PID: linux.PID()}
	err := s.setup()
	if err != nil {
		hello.Error = err.Error()
		if _, ok := errors.AsType[configError](err); ok {
			hello.Kind = "invalid"
		}
	} else if s.sinit != nil {
		hello.InitPID = s.sinit.pid
	}
	if _, e := helloFD.Write(encodeHello(&hello)); e != nil && err == nil {
		// The engine gave up: nobody knows of this instance.
		err = errors.New("nobody waits for the hello: " + e.Error())
	}
	err = errors.Join(err, helloFD.Close())
	if err == nil {
		err = s.loop.run()
	}
	if s.listener != linux.NoFD {
		err = errors.Join(err, linux.Unlink(s.socketPath()))
	}
	return err
}

func (s *server) socketPath() string { return s.cfg.Dir + "/" + socketName }

// exitText says how a process ended.
func exitText(e *Exit) string {
	if e.Signal != 0 {
		return "signal " + strconv.Itoa(e.Signal)
	}
	return "status " + strconv.Itoa(e.Code)
}
