package launch

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// In a container of a delegated runtime nobody but siflet-action knows whether the
// image's program could be started, and no descriptor leads there: it has a named pipe.

// openReport opens the pipe, if the container's process will be siflet-action.
func (s *stage) openReport() (linux.FD, error) {
	if len(s.p.Process.Action) == 0 || s.p.Process.ActionPath == "" || !hasContract(s.root) {
		return linux.NoFD, nil
	}
	fd, err := linux.OpenPlain(s.scratch, program.ReportFile, linux.ONonblock, 0)
	return linux.FD(fd), err
}

// awaitAction returns when siflet-action, the process pid, has become the image's
// program or has said why it could not. A runtime that keeps it from the pipe (a
// sandbox with a kernel of its own may) is not waited for much longer than it takes to
// begin.
func awaitAction(report linux.FD, pid int) error {
	if report == linux.NoFD {
		return nil
	}
	defer report.Close() //nolint:errcheck // a pipe
	process, err := linux.OpenProcess(pid)
	if err != nil {
		return err
	}
	defer process.Close() //nolint:errcheck // a pidfd
	both, err := linux.NewEpoll()
	if err != nil {
		return err
	}
	defer both.Close() //nolint:errcheck // nothing is written
	if err := errors.Join(both.Add(report, linux.EventIn), both.Add(process, linux.EventIn)); err != nil {
		return err
	}
	const patience, most = 5 * time.Second, 64 << 10
	var said []byte
	for end := time.Now().Add(patience); len(said) > 0 || time.Now().Before(end); {
		limit := time.Until(end)
		if len(said) > 0 {
			limit = -1 // as long as the image's scripts take
		}
		ready, err := both.Wait(max(limit, -1))
		if err != nil {
			return err
		}
		if len(ready) == 0 {
			continue
		}
		piece := make([]byte, 4<<10)
		n, _ := report.Read(piece)
		if said = append(said, piece[:max(n, 0)]...); n <= 0 || len(said) > most {
			break // it has become the program, or it has ended
		}
	}
	if len(said) < 2 {
		return nil
	}
	if f, err := program.DecodeFailure(said[1:]); err == nil {
		return f
	}
	return fail("", errors.New("siflet-action did not say what went wrong"), "start")
}
