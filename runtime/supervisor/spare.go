package supervisor

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// spareTime is how long a stage waits for the start that it was made for.
const spareTime = 10 * time.Second

// spare is a launch stage that was started before anybody knows for what: a container
// with a PID namespace of its own is being created, and will be started in a moment.
// A process takes about a millisecond to come up; the start need not wait for it.
type spare struct {
	process
	container string   // it is for
	sock      linux.FD // where it gets its descriptors from
	timer     *timer
}

// serveReady gets ready for the start of a container.
func (s *server) serveReady(conn *conn, q *Request) {
	var err error
	wanted := q.Start != nil && q.Start.PID == program.PIDContainer && s.user.fd <= 0
	if wanted && s.spare == nil && s.container(q.Container) == nil && !s.end.asked && !s.end.begun {
		s.spare, err = s.forkSpare(q.Container, &q.Start.Cgroup)
	}
	conn.answer(q.Op, err)
}

func (s *server) forkSpare(container string, group *program.Cgroup) (*spare, error) {
	null, err := s.openNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // the child has its copy
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() //nolint:errcheck // the child has its copy
	sp := &spare{process: process{s: s}, container: container, sock: ours}
	sp.ended = func(*Exit) { s.dropSpare() }
	sp.pid, sp.pidfd, err = linux.Fork("/proc/self/exe", &linux.ForkAttr{
		Args: []string{StageName, roleWait}, Env: ChildEnv(),
		Files:      []linux.FD{null, null, null, theirs},
		CloneFlags: linux.CloneNewPID, PIDNamespace: linux.NoFD, CgroupDir: birthplace(roleLaunch, group), Setsid: true,
	})
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	if err := s.loop.watch(sp.pidfd, linux.EventIn, &sp.process); err != nil {
		s.discard(&sp.process)
		return nil, errors.Join(err, ours.Close())
	}
	sp.timer = s.loop.after(spareTime, s.dropSpare)
	return sp, nil
}

// takeSpare makes the spare stage the one of a container that spec asks for, if there is
// one and it is of that kind. Its mount namespace it makes itself, now: a copy of what is
// mounted at the start.
func (s *server) takeSpare(spec *stageSpec, files []linux.FD) (pid int, pidfd linux.FD, ok bool) {
	const kind = linux.CloneNewMount | linux.CloneNewPID
	sp := s.spare
	if sp == nil || sp.container != spec.container || sp.container == "" {
		return 0, linux.NoFD, false
	}
	defer s.dropSpare()
	if !sp.alive() || spec.clone != kind || spec.pidns != linux.NoFD || sp.sock.SendPlaces(files) != nil {
		return 0, linux.NoFD, false
	}
	pid, pidfd = sp.pid, sp.pidfd
	s.loop.unwatch(pidfd)
	sp.pidfd = linux.NoFD
	return pid, pidfd, true
}

// dismissSpare ends the stage that waits for a container.
func (s *server) dismissSpare(container string) {
	if s.spare != nil && s.spare.container == container {
		s.dropSpare()
	}
}

// dropSpare lets go of the spare stage, which dies of it if it waits still.
func (s *server) dropSpare() {
	sp := s.spare
	if sp == nil {
		return
	}
	s.spare = nil
	s.loop.stop(sp.timer)
	s.loop.close(&sp.sock)
	if sp.alive() {
		s.loop.unwatch(sp.pidfd)
		s.discard(&sp.process)
	}
}

// discard kills and collects a child that nobody watches.
func (s *server) discard(p *process) {
	_ = p.signal(linux.SignalKill)
	_ = p.pidfd.AwaitInput(time.Second)
	_, _, _, _ = linux.Reap(p.pid)
	s.loop.close(&p.pidfd)
}
