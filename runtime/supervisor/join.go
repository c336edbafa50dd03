package supervisor

import (
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// startedBy has the client told how the start ends. Its leaving ends it.
func (c *container) startedBy(conn *conn) {
	c.starter = conn
	conn.gone = func() {
		c.starter = nil
		c.main.leave()
	}
}

// serveJoin answers a client about a start that has lost the one who asked for it, if it
// goes on, as if it was this one.
func (s *server) serveJoin(conn *conn, q *Request) {
	c := s.container(q.Container)
	if c == nil || c.starter != nil || !c.main.begun || c.ending != nil {
		conn.fail(notFound(q.Op, "no start goes on"))
		return
	}
	if c.main.settled {
		conn.reply(&Reply{PID: c.main.pid})
		return
	}
	c.startedBy(conn)
}

// leave kills a stage that nobody waits for any more, unless its program runs, or may.
// Only of one that stands still it is known that it does not become the program now.
func (st *stage) leave() {
	st.read()
	switch {
	case st.settled, st.begun:
	case st.restores:
		st.abandon()
	default:
		st.left = true
		_ = st.signal(linux.SignalStop)
		st.leaveStopped(time.Now().Add(killTime))
	}
}

func (st *stage) leaveStopped(until time.Time) {
	if !st.alive() || st.pidfd.Readable() {
		return // its end tells
	}
	if !linux.HasStopped(st.pid) && time.Now().Before(until) {
		st.s.loop.after(killInterval, func() { st.leaveStopped(until) })
		return
	}
	st.read()
	if st.settled {
		_ = st.signal(linux.SignalContinue)
		return
	}
	st.abandon()
}
