package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// FUSE is how file systems are served without privileges: the path of squashfuse, and
// what options there are beside those of the file system.
type FUSE struct {
	Path    string `json:"path,omitempty"`
	Options string `json:"options,omitempty"`
}

func (f *FUSE) field(r *program.Reader, key string) {
	switch key {
	case "path":
		f.Path = r.Text()
	case "options":
		f.Options = r.Text()
	default:
		r.Skip()
	}
}

// FUSEServer is a process that serves a file system until nobody has it mounted.
type FUSEServer struct {
	*linux.Child

	pidfd, log linux.FD
}

// Serve starts a server for what a launch stage asks for: see program.FUSEMark. The thread
// that calls it outlives the server.
func (f *FUSE) Serve(options string, device, image linux.FD) (*FUSEServer, error) {
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	log, err := linux.MemFile("squashfuse", nil)
	if err != nil {
		return nil, err
	}
	if f.Options != "" {
		options += "," + f.Options
	}
	pid, pidfd, err := linux.Fork(f.Path, &linux.ForkAttr{
		Args:  []string{f.Path, "-f", "-o", options, "/proc/self/fd/3", "/dev/fd/4"},
		Files: []linux.FD{null, null, log, image, device}, PIDNamespace: linux.NoFD, Setsid: true, DieWithParent: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", f.Path, err), log.Close())
	}
	return &FUSEServer{linux.NewChild(pid, pidfd), pidfd, log}, nil
}

// Settle ends a server whose file system nobody has mounted any more, and says what
// was wrong if it ended before.
func (s *FUSEServer) Settle() error {
	const enough = 5 * time.Second
	slow := !s.Ended(enough)
	if slow {
		_ = s.Kill() // it may have ended
	}
	code, signal, err := s.Wait()
	text := s.said()
	err = errors.Join(err, s.log.Close(), s.Close())
	switch {
	case err != nil || slow:
		return err
	case signal != 0:
		return fmt.Errorf("squashfuse, which read the image, was killed by signal %d", signal)
	case code != 0:
		return fmt.Errorf("squashfuse, which read the image, ended with status %d: %s", code, text)
	}
	return nil
}

// said is what the server wrote of its troubles.
func (s *FUSEServer) said() string {
	f, err := s.log.ReadAgain()
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // read only
	text, _ := f.Slurp(maxReport)
	return strings.TrimSpace(string(text))
}

// lone says that the supervisor has privileges in a user namespace of its own alone.
func (s *server) lone() bool { return s.cfg.FUSE.Path != "" }

// serveStage starts a server that a stage asks for, and collects it when it has ended: its
// file system goes with the container's mounts.
func (s *server) serveStage(message []byte, fds []linux.FD) error {
	if len(fds) != 2 || !s.lone() {
		return errors.New("a stage asks for FUSE")
	}
	server, err := s.cfg.FUSE.Serve(string(message[1:]), fds[0], fds[1])
	if err != nil {
		return err
	}
	p := &process{s: s, pid: server.PID, pidfd: server.pidfd, ended: func(e *Exit) {
		if e.Code != 0 {
			s.complain("squashfuse, which read an image, ended with " + exitText(e) + ": " + server.said())
		}
		_ = server.log.Close() // in memory
	}}
	return s.loop.watch(p.pidfd, linux.EventIn, p)
}
