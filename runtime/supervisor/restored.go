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
		c.s.loop.close(&c.main.sock)
		c.startFailed()
		return
	}
	c.main.conclude(nil)
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
