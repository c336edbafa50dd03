package runtime

import "time"

// facts are all that a container's state depends on.
type facts struct {
	started  bool // it has run, or was told to
	finished bool // its end is recorded, seen or not, or its start did not work
	alive    bool // its supervisor answers
}

// containerState derives a container's state:
//
//	created ──start──▶ running ──exit──▶ exited
//	   │                  │                ▲  ▲
//	   └─start fails──────┼────────────────┘  │ no process is left
//	                      └─supervisor─▶ unknown
//	                        lost
func containerState(f facts) ContainerState {
	switch {
	case f.finished:
		return ContainerExited
	case !f.started:
		return ContainerCreated
	case f.alive:
		return ContainerRunning
	default:
		return ContainerUnknown
	}
}

// operation is something done to a container.
type operation string

const (
	opStart  operation = "start"
	opStop   operation = "stop"
	opRemove operation = "remove"
	opExec   operation = "exec"
	opUpdate operation = "update"
)

// legal says whether an operation may be begun in a state. Stopping and
// removing are always legal: they bring about what is asked, whatever was. So is
// an update, which only goes into the records of what does not run.
func legal(op operation, s ContainerState) bool {
	switch op {
	case opStart:
		return s == ContainerCreated
	case opExec:
		return s == ContainerRunning
	case opStop, opRemove, opUpdate:
		return true
	}
	return false
}

// instanceState derives an instance's state.
func instanceState(readyAt, stoppedAt time.Time, alive bool) InstanceState {
	if !readyAt.IsZero() && stoppedAt.IsZero() && alive {
		return InstanceReady
	}
	return InstanceNotReady
}
