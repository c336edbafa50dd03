package supervisor

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// FUSE is how file systems are served without privileges: the path of siflet-fuse, and
// what options there are beside those of the file system.
type FUSE struct {
	Path    string `json:"path,omitempty"`
	Options string `json:"options,omitempty"`
}

// NoFUSE is the Path where nothing is served: images are in directories.
const NoFUSE = "none"

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

	name       string
	pidfd, log linux.FD
	gate       linux.FD // where it waits for its device; NoFD if it has that
}

// Serve starts a server for what a launch stage asks for: see program.FUSEMark. The thread
// that calls it outlives the server.
func (f *FUSE) Serve(options string, device, image linux.FD) (*FUSEServer, error) {
	return f.start(options, device, image, nil)
}

// Ready starts a server before anybody asks for it, which Give does; it gets one of some files
// ready to be read. It is nil if the program can't do that.
func (f *FUSE) Ready(options string, image linux.FD, files []string) (*FUSEServer, error) {
	if path.Base(f.Path) != "siflet-fuse" {
		return nil, nil //nolint:nilnil // as it says
	}
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return nil, err
	}
	s, err := f.start(options, theirs, image, files)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	s.gate = ours
	return s, nil
}

// Give has a server that is ready serve on a device. One that has ended says why to Settle.
func (s *FUSEServer) Give(device linux.FD) error {
	err := device.SetBlocking()
	if err == nil {
		_, err = s.gate.SendFDs([]byte{program.FUSEMark}, device)
	}
	if errors.Is(err, linux.ErrPipe) {
		err = nil
	}
	err = errors.Join(err, s.gate.Close())
	s.gate = linux.NoFD
	return err
}

func (f *FUSE) start(options string, device, image linux.FD, files []string) (*FUSEServer, error) {
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	log, err := linux.MemFile("log", nil)
	if err != nil {
		return nil, err
	}
	if f.Options != "" {
		options += "," + f.Options
	}
	pid, pidfd, err := linux.Fork(f.Path, &linux.ForkAttr{
		Args:  append([]string{f.Path, "-f", "-o", options, "/proc/self/fd/3", "/dev/fd/4"}, files...),
		Files: []linux.FD{null, null, log, image, device}, PIDNamespace: linux.NoFD, Setsid: true, DieWithParent: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", f.Path, err), log.Close())
	}
	return &FUSEServer{linux.NewChild(pid, pidfd), path.Base(f.Path), pidfd, log, linux.NoFD}, nil
}

// Settle ends a server whose file system nobody has mounted any more, and says what
// was wrong if it ended before. One that has no device has nothing to finish.
func (s *FUSEServer) Settle() error {
	const enough = 5 * time.Second
	idle := s.gate != linux.NoFD
	_ = s.gate.Close()
	slow := idle || !s.Ended(enough)
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
		return fmt.Errorf("%s, which read the image, was killed by signal %d", s.name, signal)
	case code != 0:
		return fmt.Errorf("%s, which read the image, ended with status %d: %s", s.name, code, text)
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

// serve starts a server that the stage asks for. Its file system goes with the
// container's mounts, and it with that. A container that loses its image before is ended.
func (st *stage) serve(message []byte, fds []linux.FD) error {
	if len(fds) != 2 || !st.s.lone() {
		return errors.New("a stage asks for FUSE")
	}
	server, err := st.s.cfg.FUSE.Serve(string(message[1:]), fds[0], fds[1])
	if err != nil {
		return err
	}
	p := &process{s: st.s, pid: server.PID, pidfd: server.pidfd}
	p.ended = func(e *Exit) {
		st.servers = slices.DeleteFunc(st.servers, func(q *process) bool { return q == p })
		text := server.said()
		_ = server.log.Close() // in memory
		st.lose(path.Base(st.s.cfg.FUSE.Path) + " ended with " + strings.TrimSpace(exitText(e)+" "+text))
	}
	st.servers = append(st.servers, p)
	return st.s.loop.watch(p.pidfd, linux.EventIn, p)
}

// ImageLost begins the message of an Exit whose cause that is.
const ImageLost = "the image can't be read any more: "

// lose ends the container of a stage whose image is gone, if it is not about to end: those
// of instances hold their mounts until then.
func (st *stage) lose(reason string) {
	c := st.s.containerOf(st)
	if c == nil || c.ending != nil || c.mounts == linux.NoFD {
		return
	}
	st.lost = ImageLost + reason
	st.s.complain(c.id + ": " + st.lost)
	c.note("siflet: " + st.lost)
	c.killAll(time.Now().Add(killTime), func(error) {})
}

// whyEnded is why the container's process ended, with a signal if not 0, if that is not its
// own doing.
func (c *container) whyEnded(signal int) string {
	if c.main.lost == "" && c.mounts != linux.NoFD {
		patience := time.Duration(0)
		if signal == linux.SignalBus {
			patience = time.Second / 2 // a server's files are closed before it has ended
		}
		for _, p := range c.main.servers {
			if p.pidfd.ReadableWithin(patience) { // which nobody has heard of yet
				return ImageLost + path.Base(c.s.cfg.FUSE.Path) + " ended"
			}
			patience = 0 // for all of them
		}
	}
	return c.main.lost
}

// containerOf is the container that a stage is, or was, the main process of.
func (s *server) containerOf(st *stage) *container {
	for _, c := range s.containers {
		if c.main == st {
			return c
		}
	}
	return nil
}

// hold keeps open what a stage has locked, to the end: one that is restarted finds its image
// again. All stages of an instance without root lock the same directory.
func (s *server) hold(fds []linux.FD) {
	if s.held > 0 {
		_ = s.held.Close() // the lock is another's too
	}
	s.held = fds[0]
	for _, fd := range fds[1:] {
		_ = fd.Close() // the stage's mistake
	}
}
