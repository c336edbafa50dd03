package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// enterMounts moves the calling thread into the mount namespace of another process
// until leave is called.
func enterMounts(of FD) (leave func(), err error) {
	mounts, err := OpenRead("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, err
	}
	leave = func() {
		if err := unix.Setns(int(mounts), unix.CLONE_NEWNS); err != nil {
			// What comes next would believe the names of somebody else.
			panic("leave mount namespace: " + err.Error())
		}
		Close(int(mounts))
	}
	// The threads of a process share root and working directory, and the kernel
	// lets nobody who shares them change mount namespace.
	if err = unix.Unshare(unix.CLONE_FS); err == nil {
		err = unix.Setns(int(of), unix.CLONE_NEWNS)
	}
	if err != nil {
		Close(int(mounts)) // we have not left
		return nil, fmt.Errorf("join container: %w", err)
	}
	return leave, nil
}

// start forks and waits until the program runs.
func (c *inside) start(above int, within FD, score string) (pid int, err error) {
	pipes, err := c.pipes(above)
	defer func() {
		for _, f := range pipes {
			_ = f.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	leave := func() {}
	if within > 0 {
		c.within = within
		if leave, err = enterMounts(within); err != nil {
			return 0, errors.Join(err, c.report.Close(), c.gate.Close())
		}
	}
	first, errno := c.fork()
	leave()
	err = errors.Join(c.report.Close(), c.gate.Close())
	if errno != 0 {
		return 0, errors.Join(errno, err)
	}
	pid = int(first)
	if err = errors.Join(err, c.release(pid, score)); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return 0, err
	}
	r := pipes[0]
	var b [8]byte
	for {
		n, rerr := r.Read(b[:])
		if n != len(b) || rerr != nil {
			break
		}
		what, value := binary.NativeEndian.Uint32(b[:4]), binary.NativeEndian.Uint32(b[4:])
		if what == reportPID {
			pid = int(value)
			continue
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", reportText(what), unix.Errno(value)))
	}
	if pid != int(first) || err != nil {
		_, _ = unix.Wait4(int(first), nil, 0, nil)
	}
	if pid != int(first) && err != nil {
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return pid, err
}

// release lets the child go on, with an oom_score_adj if there is one.
func (c *inside) release(pid int, score string) error {
	if score != "" {
		// Not by the child, to whom /proc may be anything.
		err := Put("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", score)
		if err != nil && !errors.Is(err, unix.EACCES) { // as SetOOMScoreAdj
			return err
		}
	}
	_, err := c.opener.Write([]byte{1})
	return err
}

// pipes makes that of the report and that of the gate: the child's ends are in c, ours
// are returned.
func (c *inside) pipes(above int) (ours []FD, err error) {
	r, w, err := NewPipe()
	if err != nil {
		return nil, err
	}
	c.report, err = w.dupFrom(above)
	if err = errors.Join(err, w.Close()); err != nil {
		return []FD{r}, err
	}
	in, out, err := NewPipe()
	if err != nil {
		return []FD{r, c.report}, err
	}
	c.gate, err = in.dupFrom(above)
	if err = errors.Join(err, in.Close()); err != nil {
		return []FD{r, out, c.report}, err
	}
	c.opener = out
	return []FD{r, out}, nil
}
