package supervisor

import (
	"errors"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// record writes the exit file. If that does not work now it will be tried
// again; the exit stays in memory meanwhile.
func (c *container) record(retry time.Duration) {
	if c.exitFile == "" {
		return
	}
	if err := writeExit(c.exitFile, c.exit); err != nil {
		c.s.complain("record the exit of " + c.id + ": " + err.Error())
		c.s.loop.after(retry, func() {
			if slices.Contains(c.s.containers, c) {
				c.record(min(2*retry, time.Minute))
			}
		})
	}
}

// exitRoom is more than an exit takes.
const exitRoom = 512

// reserveExit takes the room on disk for an exit, so that a disk that is full by
// then does not keep it from being recorded. Without a path it does nothing.
func reserveExit(path string) {
	if path == "" {
		return
	}
	fd, err := linux.OpenWrite(path+newExit, 0o644)
	if err != nil {
		return // it will be complained about when it matters
	}
	_, _ = fd.Write(make([]byte, exitRoom))
	_ = fd.Close()
}

// newExit is the suffix of an exit file that is not complete.
const newExit = ".new"

func writeExit(path string, e *Exit) error {
	temp := path + newExit
	fd, err := linux.OpenWrite(temp, 0o644)
	if err != nil {
		return err
	}
	b := encodeExit(e)
	err = linux.WriteAll(int(fd), b)
	if err == nil {
		err = fd.Truncate(int64(len(b)))
	}
	if err = errors.Join(err, fd.Close()); err == nil {
		err = linux.Rename(temp, path)
	}
	return err
}
