// Package launch carries out a program inside the new process of a container:
// mounts, root change, user, privileges, then the exec that replaces it.
//
// It decides nothing: what to do is in the program, what may be done is the
// kernel's to say. It writes no file on the host; everything it makes lives in
// the process's own mount namespace, and in the upper directory that the program
// names.
//
// A stage is a process of its own, started with these descriptors:
//
//	0,1,2  the container's stdio (/dev/null where it gets a terminal)
//	3      a stream socket, written only: see below
//	4      the program, as JSON, up to the end of file
//	5      launch: the mount namespace whose root is the instance's shared
//	       memory (optional); exec: a pidfd of the container's process
//	6      launch: a socket to ask for hooks on, if the program says so
//
// and, for a launch, in a mount namespace of its own. On the socket it sends
//
//	'T' with the terminal's master as SCM_RIGHTS, if the program wants a terminal
//	a program.Failure as JSON, if something did not work; the process ends then
//
// The socket closes on exec: its end without a failure means the container's
// process runs. It is killed when the thread that made it ends.
package launch

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// The descriptors a stage starts with.
const (
	statusFD    = 3
	programFD   = 4
	namespaceFD = 5
	sixthFD     = 6 // see Main, inside.go, and ExecMain
)

// Exit statuses of a stage that failed; those a shell uses.
const (
	exitFailed     = 1
	exitPermission = 126
	exitNotFound   = 127
)

// Kinds of failure.
const (
	kindNotFound   = "not_found"
	kindPermission = "permission"
	kindInvalid    = "invalid"
	kindNotRunning = "not_running"
)

// Main makes a container and becomes its process. It returns the exit status
// of the stage when that did not work, having reported why.
func Main() int { return run(launch) }

// WaitMain is Main of a stage that was started before it was known for what. It has
// /dev/null as stdio, a socket as descriptor 3, on which the descriptors of a stage come,
// and the supervisor's mount namespace until then.
func WaitMain() int {
	goruntime.LockOSThread()
	// A parent that is gone, or that has sent all, has closed its end: what was sent tells.
	if err := errors.Join(linux.DieWithParent(linux.NoFD), linux.HideMemory()); err != nil {
		return exitFailed
	}
	if got, err := linux.FD(statusFD).TakePlaces(); err != nil || !got {
		return exitFailed // the supervisor sees that it ended
	}
	return run(func(p *program.Program) error {
		if err := linux.Unshare(linux.CloneNewMount); err != nil {
			return err
		}
		return launch(p)
	})
}

// Exec is what an exec's stage finds when it begins.
type Exec struct {
	Joined  bool // it is in the container's cgroup
	Entered bool // it is in the container's mounts, and nothing of the host's is in sight
	Action  bool // descriptor 6 is siflet-action
}

// ExecMain joins a container and becomes a further process of it.
func ExecMain(x Exec) int {
	return run(func(p *program.Program) error {
		if x.Joined {
			p.Cgroup.Join = nil
		}
		e := newEntry(&p.Process)
		e.entered = x.Entered
		if x.Action {
			e.action = sixthFD
		}
		return join(p, e)
	})
}

func run(stage func(*program.Program) error) int {
	// Credentials and namespaces belong to threads; the one that execs is the
	// one that is left.
	goruntime.LockOSThread()
	if linux.PID() != 1 { // whom no signal ends without a handler
		linux.EndBySignals() // the exec may cut a handler short
	}
	p, err := read()
	if err == nil {
		err = stage(p)
	}
	if err == nil {
		return 0
	}
	f := asFailure(err)
	_ = linux.WriteAll(statusFD, f.Encode()) // nobody is left to tell otherwise
	switch f.Kind {
	case kindNotFound:
		return exitNotFound
	case kindPermission:
		return exitPermission
	default:
		return exitFailed
	}
}

func read() (*program.Program, error) {
	if err := linux.DieWithParent(statusFD); err != nil {
		return nil, err
	}
	if err := linux.HideMemory(); err != nil {
		return nil, err
	}
	const limit = 16 << 20
	data, err := linux.ReadAll(programFD, limit)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	p, err := program.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	if p.Version > program.Version {
		return nil, &program.Failure{
			Step:   "read program",
			Reason: fmt.Sprintf("version %d is newer than this siflet-instance knows (%d)", p.Version, program.Version),
			Kind:   kindInvalid,
		}
	}
	return p, nil
}

// launch carries out p and returns only an error.
func launch(p *program.Program) error {
	s := &stage{p: p, scratch: -1, root: -1, entry: newEntry(&p.Process)}
	if p.Delegate != nil {
		return s.delegate()
	}
	s.entry.hooks = p.Hooks
	return inOrder(s.rest([]step{
		{"make namespaces ready", s.readyNamespaces},
		{"open cgroup", s.openCgroup},
		{"prepare", s.entry.prepare},
		{"open sources", s.openSources},
		{"set sysctls", s.setSysctls},
		{"isolate mounts", isolate},
		{"make scratch space", s.makeScratch},
		{"mount root", s.mountRoot},
		{"place root", s.placeRoot},
		{"mount images", s.mountImages},
	}))
}

// rest adds what a container's process does once its root is mounted, in a user
// namespace or not.
func (s *stage) rest(first []step) []step {
	return append(first, []step{
		// The container's cgroup may not use loop devices.
		{"join cgroup", s.joinCgroup},
		{"mount", s.mountAll},
		{"make devices", s.makeDevices},
		{"place files", s.placeFiles},
		{"place accounts", s.placeAccounts},
		{"run hooks", s.createHooks},
		{"find user", s.findUser},
		{"protect paths", s.protect},
		{"restore", s.restore},
		{"create working directory", s.makeCwd},
		{"change root", func() error { return linux.PivotRoot(s.root) }},
		{"open terminal", s.openTerminal},
		{"seal root", s.sealRoot},
		{"start", func() error { return s.entry.start(s.root) }},
	}...)
}

// join enters a running container and returns only an error.
func join(p *program.Program, e *entry) error {
	s := &stage{p: p, scratch: -1, root: -1, entry: e}
	if p.Cgroup.Dir != "" && slices.Contains(p.Cgroup.Join, p.Cgroup.Dir+"/cgroup.procs") {
		p.Cgroup.Join = nil // it was born there
	}
	if p.Delegate != nil {
		return s.delegateExec()
	}
	return inOrder([]step{
		{"open cgroup", s.openCgroup},
		{"join cgroup", s.joinCgroup},
		{"prepare", e.prepare},
		{"enter container", s.enter},
		{"create working directory", s.makeCwd},
		{"find user", s.findUserInside},
		{"open terminal", func() error { return e.openTerminal(s.root, false) }},
		{"start", func() error { return e.start(s.root) }},
	})
}

// step is one of those that make a container, with a name for when it fails.
type step struct {
	name string
	do   func() error
}

func inOrder(steps []step) error {
	for _, step := range steps {
		if err := step.do(); err != nil {
			return inStep(step.name, err)
		}
	}
	return nil
}

// isolate keeps the container's mounts from the host, and the other way round.
func isolate() error { return linux.MakePrivate("/") }

// fail is an error that names its own step.
func fail(kind string, err error, step string, args ...any) error {
	return &program.Failure{Step: fmt.Sprintf(step, args...), Reason: err.Error(), Kind: kind}
}

// inStep names the step of an error that does not do so itself.
func inStep(step string, err error) error {
	if f, ok := errors.AsType[*program.Failure](err); ok {
		return f
	}
	return &program.Failure{Step: step, Reason: err.Error(), Kind: roomKind(err)}
}

// roomKind is the kind of an error that a full disk is the cause of, or none.
func roomKind(err error) string {
	if errors.Is(err, linux.ENOSPC) || errors.Is(err, linux.EDQUOT) {
		return program.FailedRoom
	}
	return ""
}

func failureKind(err error) string { return asFailure(err).Kind }

func asFailure(err error) *program.Failure {
	if f, ok := errors.AsType[*program.Failure](inStep("start stage", err)); ok {
		return f
	}
	return &program.Failure{Step: "start stage", Reason: "unknown"}
}
