package supervisor

import (
	"context"
	"errors"
	"os"

	"github.com/siflet/siflet/runtime/linux"
)

var errNoExit = errors.New("reply without an exit")

// Session is a running exec or attach.
type Session struct {
	PID int
	// Terminal is the exec's, if it asked for one; the caller closes it.
	Terminal *os.File
	link     *link
	exit     *Exit
}

// Wait waits for the end: of an exec's process, or of an attached container's
// output.
func (s *Session) Wait(ctx context.Context) (Exit, error) {
	if s.exit != nil {
		return *s.exit, nil
	}
	rep, err := s.link.receive(ctx)
	if err != nil {
		return Exit{}, err
	}
	if rep.Exit == nil {
		return Exit{}, errNoExit
	}
	s.exit = rep.Exit
	return *s.exit, nil
}

// Close detaches, or kills an exec that still runs together with what it
// started.
func (s *Session) Close() error { return s.link.close() }

// terminalFile makes a pollable file of a terminal's master.
func terminalFile(fd linux.FD) (*os.File, error) {
	if err := fd.SetNonblock(); err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}
