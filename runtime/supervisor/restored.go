package supervisor

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// restored is told when the process that was to make the container's from a
// checkpoint has ended; file then holds the new process's ID.
func (c *container) restored(e *Exit, file string) {
	c.main.ended = c.ended
	if c.main.failure == nil {
		if err := c.take(e, file); err != nil {
			c.main.settled, c.main.failure = true, &program.Failure{Step: "restore", Reason: err.Error()}
		}
	}
	if c.main.failure != nil {
		c.killOrphans()
		c.s.loop.close(&c.main.sock)
		c.startFailed()
		return
	}
	c.main.conclude(nil)
}

// killOrphans kills and collects children that criu has made of a checkpoint, and left
// when it was killed itself.
func (c *container) killOrphans() {
	pids, _ := members(c.cgroup().Procs)
	for _, pid := range pids {
		if st, ok := readStat(pid); !ok || st.parent != linux.PID() {
			continue // it dies with one of ours, the init of its namespace
		}
		p := &process{s: c.s, pid: pid, ended: func(*Exit) {}}
		var err error
		if p.pidfd, err = linux.OpenProcess(pid); err != nil {
			continue
		}
		if err := c.s.loop.watch(p.pidfd, linux.EventIn, p); err != nil {
			c.s.discard(p)
			continue
		}
		_ = p.signal(linux.SignalKill)
	}
}

// take makes a child that another child has made the container's process.
func (c *container) take(e *Exit, file string) error {
	if e.Code != 0 {
		return errors.New("criu ended with " + exitText(e))
	}
	const longest = 16
	text, err := linux.Slurp(file, longest)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid <= 0 {
		return errors.New("criu left no process ID")
	}
	// It is our child: until we collect it nobody else has its ID.
	pidfd, err := linux.OpenProcess(pid)
	if err != nil {
		return err
	}
	c.main.pid, c.main.pidfd = pid, pidfd
	return c.s.loop.watch(pidfd, linux.EventIn, &c.main.process)
}
