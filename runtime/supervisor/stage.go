package supervisor

import (
	"errors"
	"slices"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// StageName is the command name of a stage until it becomes the program.
const StageName = "siflet-stage"

const (
	roleLaunch = "launch"
	roleExec   = "exec"
	// In a user namespace two processes share the work of roleLaunch.
	rolePrepare = "prepare"
	roleInside  = "inside"
	// roleWait becomes roleLaunch: see spare.go.
	roleWait = "wait"
	// Joined is a further argument of an exec that is in its cgroups already.
	Joined = "joined"
	// Entered is one of an exec that is in the container's mounts already.
	Entered = "entered"
	// Action is one of an exec that has siflet-action as descriptor 6.
	Action = "action"
	// terminalMark comes with the terminal's descriptor on the report socket.
	terminalMark = 'T'
	maxReport    = 64 << 10
)

// A stage is the supervisor's child on its way to becoming a program. It has
// descriptors
//
//	0 1 2  the program's, unless it makes a terminal
//	3      a socket: 'T' with the terminal's descriptor, then nothing more
//	       (the exec happened) or a program.Failure in JSON
//	4      the program, JSON
//	5      exec: pidfd of the container; launch: mount namespace with /dev/shm
//	6      launch: a socket to ask for hooks on, or nothing
//
// For stages of an instance with a user namespace, and those born in a container, see
// userns.go.
type stageSpec struct {
	role string
	// container is the one to launch.
	container string
	program   []byte
	saved     linux.FD // the program as a file, if it is not NoFD
	stdio     [3]linux.FD
	extra     linux.FD
	hooks     linux.FD
	clone     uintptr
	pidns     linux.FD
	cgroup    program.Cgroup
	keep      bool // see ExecRequest
	action    string
	// enter has an exec's stage born in the container's mounts, see ExecRequest.
	enter bool
	score *int
	// restores says that the stage makes the process instead of becoming it.
	restores bool
}

// KeepOrphans is a further argument of a stage that is to be their parent.
const KeepOrphans = "keep-orphans"

func (s *stageSpec) args() []string {
	if s.keep {
		return []string{StageName, s.role, KeepOrphans}
	}
	return []string{StageName, s.role}
}

type stage struct {
	process
	sock     linux.FD
	report   []byte
	terminal linux.FD
	failure  *program.Failure
	restores bool
	settled  bool
	servers  []*process
	lock     linux.FD // see program.LockMark; none if it is not positive
	left     bool     // nobody waits any longer
	begun    bool     // see program.BeginMark
	lost     string   // what became of the image that the container can't go on without
	look     *timer   // until it is settled
	// settle is called once: nil when the program runs. The process of a
	// failed stage may live a little longer; ended tells.
	settle func(*program.Failure)
}

// fork starts a stage. The caller keeps and closes the descriptors in spec.
func (s *server) fork(spec *stageSpec) (*stage, error) {
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() //nolint:errcheck // the child has its copy
	st := &stage{sock: ours, terminal: linux.NoFD, restores: spec.restores}
	prog, err := spec.file()
	if err == nil {
		defer prog.Close() //nolint:errcheck // the child has its copy
		st.process = process{s: s, pidfd: linux.NoFD, cgroup: spec.cgroup, oomBase: oomKills(spec.cgroup.OOM)}
		if s.user.fd > 0 || spec.enter {
			st.pid, st.pidfd, err = s.forkInside(spec, theirs, prog)
		} else {
			st.pid, st.pidfd, err = s.forkOutside(spec, theirs, prog)
		}
	}
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	st.dying = st.died
	st.lookLater()
	err = ours.SetNonblock()
	if err == nil {
		err = s.loop.watch(ours, linux.EventIn, st.reportSource())
	}
	if err == nil {
		err = s.loop.watch(st.pidfd, linux.EventIn, &st.process)
	}
	if err != nil {
		s.discard(&st.process) // nobody else is going to collect it
		s.loop.stop(st.look)
		s.loop.close(&st.sock)
		return nil, err
	}
	return st, nil
}

// file is the program as a file of the stage's own.
func (s *stageSpec) file() (linux.FD, error) {
	if s.saved != linux.NoFD {
		return s.saved.ReadAgain()
	}
	return linux.MemFile("program", s.program)
}

// forkOutside forks a stage that has the host's user namespace, or takes the one that
// waits.
func (s *server) forkOutside(spec *stageSpec, report, prog linux.FD) (int, linux.FD, error) {
	files := []linux.FD{spec.stdio[0], spec.stdio[1], spec.stdio[2], report, prog, spec.extra, spec.hooks}
	if pid, pidfd, ok := s.takeSpare(spec, files); ok {
		return pid, pidfd, nil
	}
	return linux.Fork("/proc/self/exe", &linux.ForkAttr{
		Args:         spec.args(),
		Env:          ChildEnv(),
		Files:        files,
		CloneFlags:   spec.clone,
		PIDNamespace: spec.pidns,
		Lone:         s.lone(),
		CgroupDir:    birthplace(spec.role, &spec.cgroup),
		Setsid:       true,
	})
}

// birthplace is the v2 directory that a stage is born in, "" if it joins its cgroup later.
func birthplace(role string, group *program.Cgroup) string {
	if role == roleLaunch && slices.Contains(group.Join, group.Dir+"/cgroup.procs") {
		return "" // on v2 it joins when it has used the devices that the container may not
	}
	return group.Dir
}

type reportSource struct{ st *stage }

func (st *stage) reportSource() source { return reportSource{st} }

func (r reportSource) ready(uint32) { r.st.read() }

// read takes in the report. EOF is a close-on-exec: the program runs, or the
// stage died on the way.
func (st *stage) read() {
	for st.sock != linux.NoFD {
		b := st.s.inbuf
		n, fds, err := st.sock.ReceiveFDs(b)
		if n > 0 && err == nil && b[0] == program.FUSEMark && len(fds) > 0 {
			err = st.serve(b[:n], fds)
			for _, fd := range fds {
				_ = fd.Close() // the server has them
			}
			if err != nil {
				st.conclude(&program.Failure{Step: "mount the image", Reason: err.Error()})
			}
			continue
		}
		if n > 0 && err == nil && b[0] == program.HoldMark && len(fds) > 0 {
			st.s.hold(fds)
			continue
		}
		if n > 0 && err == nil && b[0] == program.LockMark && len(fds) == 1 && st.lock <= 0 {
			st.lock = fds[0]
			continue
		}
		for _, fd := range fds {
			if st.terminal == linux.NoFD {
				st.terminal = fd
				continue
			}
			_ = fd.Close() // the first one is the stage's, whoever has got hold of its socket since
		}
		switch {
		case again(err):
			return
		case err != nil:
			st.conclude(&program.Failure{Step: "read the stage's report", Reason: err.Error()})
		case n > 0 && len(st.report)+n > maxReport:
			st.conclude(&program.Failure{Step: "read the stage's report", Reason: "too long"})
		case n > 0:
			st.report = append(st.report, b[:n]...)
			st.takeMarks()
		default:
			st.eof()
		}
	}
}

// unlock lets others have what the container kept to itself.
func (st *stage) unlock() {
	if st != nil && st.lock > 0 {
		_ = st.lock.Close() // nothing is written to it
		st.lock = linux.NoFD
	}
}

func (st *stage) eof() {
	st.s.loop.close(&st.sock)
	if st.told() {
		return
	}
	if st.restores {
		return // its end tells
	}
	// A process without an executable is ending: whether it had become the
	// program is known when it has ended (died).
	if _, err := linux.Exe(st.pid); errors.Is(err, linux.ErrNoEntry) {
		return
	}
	st.conclude(nil)
}

func (st *stage) conclude(f *program.Failure) {
	st.s.loop.stop(st.look)
	st.s.loop.close(&st.sock)
	st.report = nil
	if st.settled {
		return
	}
	st.settled, st.failure = true, f
	if f != nil {
		_ = st.signal(linux.SignalKill)
	}
	st.settle(f)
}

// abandon kills a stage whose container is not wanted any more.
func (st *stage) abandon() {
	st.begun = false
	st.conclude(&program.Failure{Step: "launch", Reason: "the instance or the container ended"})
}

// takeMarks takes what is no failure off the report.
func (st *stage) takeMarks() {
	for len(st.report) > 0 {
		switch st.report[0] {
		case program.BeginMark:
			if !st.left && !st.settled {
				_, err := st.sock.Send(st.report[:1])
				st.begun = err == nil
			}
		case terminalMark:
		default:
			return
		}
		st.report = st.report[1:]
	}
}

// PrepareStage undoes what a stage inherits from the supervisor. The calling
// goroutine is locked to the main thread.
func PrepareStage(keepOrphans bool) error {
	if keepOrphans {
		if err := linux.KeepOrphans(); err != nil {
			return err
		}
	}
	if err := linux.SetName(StageName); err != nil {
		return err
	}
	// The supervisor does without huge pages; its containers may want them.
	if err := linux.AllowTHP(); err != nil {
		return err
	}
	return linux.UnblockSignals()
}
