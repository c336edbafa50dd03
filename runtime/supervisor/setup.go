package supervisor

import (
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
)

const maxConfig = 1 << 20

func (s *server) setup() error {
	b, err := linux.FD(0).Slurp(maxConfig)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if s.cfg, err = decodeConfig(b); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if s.cfg.Version > configLinked {
		return errors.New("config: version " + strconv.Itoa(s.cfg.Version) + " is newer than this siflet-instance knows; install the agent's own")
	}
	if s.cfg.ID == "" || s.cfg.Dir == "" {
		return errors.New("config: no ID or directory")
	}
	if err := s.holdNetwork(); err != nil {
		return err
	}
	if err := linux.NullStdin(); err != nil {
		return err
	}
	if s.null, err = linux.ReadOnlyClone("/dev/null"); err != nil {
		return err
	}
	if s.exe, err = linux.OpenExe(); err != nil {
		return err
	}
	if err := linux.JoinCgroups(s.cfg.Cgroup.Join); err != nil {
		return err
	}
	if err := s.makeUser(); err != nil {
		return err
	}
	if err := s.namespaces(); err != nil {
		return err
	}
	s.cosmetics()
	if s.inbuf, err = linux.Scratch(readChunk); err != nil {
		return err
	}
	if s.outbuf, err = linux.Scratch(writeChunk); err != nil {
		return err
	}
	s.outbuf = s.outbuf[:0]
	if s.loop, err = newLoop(); err != nil {
		return err
	}
	if err := errors.Join(s.signals(), s.watchNetwork()); err != nil {
		return err
	}
	if s.cfg.SharedPID {
		if err := s.startInit(); err != nil {
			return err
		}
	}
	if s.listener, err = linux.ListenUnix(s.cfg.Dir, socketName); err != nil {
		return err
	}
	if s.lone() { // whose run directory, of which this is RUN/instances/ID, may be in /tmp
		if err := errors.Join(linux.KeepDirectory(path.Dir(path.Dir(s.cfg.Dir))), linux.KeepPlace(s.cfg.Dir, socketName)); err != nil {
			return err
		}
	}
	if err := s.awaitInit(); err != nil {
		return err
	}
	return s.loop.watch(s.listener, linux.EventIn, s)
}

// configError is an error that whoever asked for the instance has to mend.
type configError struct{ error }

func (s *server) namespaces() error {
	if s.cfg.Hostname != "" {
		if err := linux.SetHostname(s.cfg.Hostname); err != nil {
			return err
		}
	}
	if s.cfg.Domainname != "" {
		if err := linux.SetDomainname(s.cfg.Domainname); err != nil {
			return err
		}
	}
	if s.cfg.Loopback {
		if err := linux.LoopbackUp(); err != nil {
			return err
		}
		if s.lone() {
			linux.LowPorts()
		}
	}
	for k, v := range s.cfg.Sysctls {
		if err := s.user.setSysctl(k, v); errors.Is(err, linux.ENOMEM) {
			return err
		} else if err != nil {
			return configError{err}
		}
	}
	return nil
}

// cosmetics may not work, and that is no reason to give up.
func (s *server) cosmetics() {
	_ = linux.SetName("siflet-instance")
	_ = linux.DisableTHP()
	linux.DropChildSignals()
	if s.cfg.OOMScoreAdj != nil {
		_ = linux.SetOOMScore(*s.cfg.OOMScoreAdj)
	}
}

// sharedMemory returns the mount namespace that holds the instance's
// /dev/shm at its root, making it first if need be.
func (s *server) sharedMemory() (linux.FD, error) {
	if s.shm != linux.NoFD || s.cfg.SharedMemory <= 0 {
		return s.shm, nil
	}
	ns, err := linux.TmpfsNamespace(s.cfg.Dir, s.cfg.SharedMemory, s.user.owner())
	if err != nil {
		return linux.NoFD, fmt.Errorf("shared memory: %w", err)
	}
	s.shm = ns
	return ns, nil
}

// collect runs the garbage collector and gives what it finds to the kernel.
func collect() { debug.FreeOSMemory() }

// signalSource reads the process's signals.
type signalSource struct {
	s  *server
	fd linux.FD
}

func (s *server) signals() error {
	fd, err := linux.NoteSignals(linux.EndSignals())
	if err != nil {
		return err
	}
	return s.loop.watch(fd, linux.EventIn, signalSource{s, fd})
}

func (g signalSource) ready(uint32) {
	for {
		if _, err := g.fd.NextSignal(); err != nil {
			return
		}
		g.s.terminate(linux.SignalTerminate, graceTime)
	}
}

// startInit starts PID 1 of the instance's PID namespace.
func (s *server) startInit() error {
	null, err := s.openNull()
	if err != nil {
		return err
	}
	defer null.Close() //nolint:errcheck // the child has its copy
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return err
	}
	defer theirs.Close() //nolint:errcheck // the child has its copy
	if err := theirs.SetNonblock(); err != nil {
		return errors.Join(err, ours.Close())
	}
	p := &process{s: s, ended: s.initEnded}
	p.pid, p.pidfd, err = linux.Fork("/proc/self/exe", &linux.ForkAttr{
		Args: []string{InitName, roleInit, OwnMounts}, Env: ChildEnv(),
		// Our end stays open until we die, which is how sinit sees it.
		Files:      []linux.FD{null, null, 2, theirs},
		CloneFlags: linux.CloneNewPID | linux.CloneNewMount, PIDNamespace: linux.NoFD, Setsid: true,
		UserNamespace: s.user.fd,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", InitName, err), ours.Close())
	}
	s.sinit, s.witness = p, ours
	return s.loop.watch(p.pidfd, linux.EventIn, p)
}

// awaitInit waits until signals to sinit do what they should.
func (s *server) awaitInit() error {
	if s.sinit == nil {
		return nil
	}
	var b [1]byte
	if n, err := s.witness.Read(b[:]); n != 1 {
		return errors.Join(errors.New(InitName+" did not come up"), err)
	}
	if !s.cfg.EndWithInit {
		return nil
	}
	if err := s.witness.SetNonblock(); err != nil {
		return err
	}
	return s.loop.watch(s.witness, linux.EventIn, initSource{s})
}

// needInit makes sure of an init to be under. An instance whose containers were
// to have PID namespaces of their own has none before the first that shares one.
func (s *server) needInit() error {
	if s.sinit == nil {
		if err := errors.Join(s.startInit(), s.awaitInit()); err != nil {
			return err
		}
	}
	if !s.sinit.alive() {
		return errors.New("the instance's init is not running")
	}
	return nil
}

func (s *server) initEnded(e *Exit) {
	if !s.cfg.EndWithInit && !s.end.begun && e.Code != 0 {
		s.complain(InitName + " ended with " + exitText(e))
	}
	if s.cfg.EndWithInit || s.cfg.SharedPID {
		s.shutdown(nil) // nothing could start any more in its namespace
	}
	s.progress()
}
