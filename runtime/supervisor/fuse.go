package supervisor

import (
	"errors"
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// FUSE is how file systems are served without privileges: the path of squashfuse, and
// what options there are beside those of the file system.
type FUSE struct {
	Path    string `json:"path,omitempty"`
	Options string `json:"options,omitempty"`
}

// FUSEServer is a process that serves a file system until nobody has it mounted.
type FUSEServer struct {
	*linux.Child

	log linux.FD
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
	return &FUSEServer{Child: linux.NewChild(pid, pidfd), log: log}, nil
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
	said, _ := s.log.ReadAgain()
	text, _ := said.Slurp(maxReport)
	err = errors.Join(err, said.Close(), s.log.Close(), s.Close())
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
