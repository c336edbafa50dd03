package supervisor

import (
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// linkFD is where a supervisor without privileges finds the link to the keeper of its network.
const linkFD linux.FD = 4

// netLink is the supervisor's end of it.
type netLink struct {
	s  *server
	fd linux.FD
	// lost says why there is no network any more.
	lost string
}

// holdNetwork takes the link over: before anything is started that would inherit it.
func (s *server) holdNetwork() error {
	if !s.cfg.Linked {
		return nil
	}
	s.link.s, s.link.fd = s, linkFD
	if err := linux.CloseOnExecFrom(uint(linkFD)); err != nil {
		return err
	}
	return linkFD.SetNonblock()
}

func (s *server) watchNetwork() error {
	if !s.cfg.Linked {
		return nil
	}
	if _, err := linkFD.Send(strconv.AppendInt([]byte{keeperHolder}, int64(linux.PID()), 10)); err != nil {
		return err
	}
	return s.loop.watch(linkFD, linux.EventIn, &s.link)
}

func (l *netLink) ready(uint32) {
	b := make([]byte, maxWords+1)
	n, err := l.fd.Read(b)
	if again(err) {
		return
	}
	if n > 1 && b[0] == keeperAgain {
		l.tell("the network was gone, and is there again: " + string(b[1:n]))
		return
	}
	if l.lost = keeperLost; n > 1 {
		l.lost = string(b[1:n])
	}
	l.s.loop.close(&l.fd)
	l.tell("the network has ended, until the instance is started again: " + l.lost)
}

// tell has those read something who look for why the network does not work.
func (l *netLink) tell(text string) {
	l.s.complain(text)
	for _, c := range l.s.containers {
		c.note("siflet: " + text)
	}
}

// endNetwork returns when nothing is published any more.
func (l *netLink) end() {
	if l.s == nil || l.fd == linux.NoFD {
		return
	}
	const patience = 5 * time.Second
	l.s.loop.unwatch(l.fd)
	if l.fd.EndOutput() == nil {
		_ = l.fd.AwaitInput(patience) // its end
	}
	_ = l.fd.Close()
	l.fd = linux.NoFD
}

// note adds a line of the supervisor's own to the container's logs.
func (c *container) note(text string) {
	line := []byte(text + "\n")
	if f := c.logs.cri; f != nil && f.fd != linux.NoFD {
		l := criLines{stream: "stderr"}
		record, _ := l.append(make([]byte, 0, lineRoom), line, time.Now())
		f.write(record)
	}
	if f := c.logs.err; f != nil && f.fd != linux.NoFD {
		f.write(line)
	}
}
