package supervisor

import (
	"encoding/json"
	"time"

	"github.com/siflet/siflet/runtime/program"
)

// ProtocolVersion is the version of the control protocol. The hello carries
// the supervisor's; a newer engine keeps talking to an older supervisor.
//
// What both promise while it stays the same: a field is added, never given another meaning
// or taken away; who does not know a field ignores it, and does what it did before; an
// operation is added where its refusal does no harm. So an engine gets on with each
// supervisor of this version, and those of pods that run are never replaced. A test has
// the supervisor of the release before made use of by this engine (test/cri).
const ProtocolVersion = 1

// The versions of a Config with a user namespace, with FUSE, and with a network in user
// mode, which is the newest.
const (
	configMapped = 2
	configFUSE   = 3
	configLinked = 4
)

// Config is what the engine hands a new supervisor on its standard input, as
// one JSON document. It says the lowest version whose supervisors do all that is in
// it: one that does not know of user namespaces would run the instance without.
type Config struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	// Dir is <run>/instances/<id>; the supervisor listens on Dir/control.sock
	// and may use Dir for its own files.
	Dir string `json:"dir"`
	// Title is shown by ps, e.g. "siflet instance: root [web]".
	Title      string `json:"title,omitempty"`
	Hostname   string `json:"hostname,omitempty"`   // set in the (new) UTS namespace
	Domainname string `json:"domainname,omitempty"` // likewise
	// SharedPID starts sinit as PID 1 of a PID namespace for containers whose
	// mode is program.PIDShared. When sinit ends, so does the supervisor.
	SharedPID bool `json:"shared_pid,omitempty"`
	// SharedMemory is the size in bytes of the instance's /dev/shm (mount type
	// "shm"); it is made when the first container asks for it.
	SharedMemory int64 `json:"shared_memory,omitempty"`
	// Loopback brings lo up (the network namespace is new).
	Loopback bool              `json:"loopback,omitempty"`
	Sysctls  map[string]string `json:"sysctls,omitempty"`
	// Cgroup is joined before anything else.
	Cgroup program.Cgroup `json:"cgroup"`
	// OOMScoreAdj of the supervisor and sinit themselves (best effort).
	OOMScoreAdj *int `json:"oom_score_adj,omitempty"`
	// EndWithInit ends the supervisor when sinit is told to terminate (a person's
	// instances: "kill $(cat web.pid)" stops the instance).
	EndWithInit bool `json:"end_with_init,omitempty"`
	// UIDMap and GIDMap, texts as in /proc/PID/uid_map, make a user namespace for
	// all that runs in the instance. Owned are flags of clone(2): the namespaces
	// that belong to it and are made with it, instead of by who starts the supervisor.
	UIDMap string `json:"uid_map,omitempty"`
	GIDMap string `json:"gid_map,omitempty"`
	Owned  uint64 `json:"owned,omitempty"`
	// FUSE, if it has a path, is for a supervisor that was born without privileges in a
	// user namespace of its own, and serves what its stages mount.
	FUSE FUSE `json:"fuse,omitzero"`
	// Linked says that descriptor 4 is the link to the keeper of its network.
	Linked bool `json:"linked,omitempty"`
}

// lowest is the lowest version whose supervisors do all that c asks for.
func (c *Config) lowest() int {
	if c.Linked {
		return configLinked
	}
	if c.FUSE.Path != "" {
		return configFUSE
	}
	if c.UIDMap != "" || c.GIDMap != "" || c.Owned != 0 {
		return configMapped
	}
	return ProtocolVersion
}

// Hello is the supervisor's first message, written on file descriptor 3 (then
// closed) once Dir/control.sock accepts connections.
type Hello struct {
	Version int `json:"version"`
	PID     int `json:"pid"`                // the supervisor, on the host
	InitPID int `json:"init_pid,omitempty"` // sinit, on the host
	// Error is why the supervisor gives up; it exits after saying so.
	Error string `json:"error,omitempty"`
	// Kind is the error's, as program.Failure has it.
	Kind string `json:"kind,omitempty"`
}

// Request is one call. A connection carries one call; file descriptors travel
// with it by SCM_RIGHTS, in the order the operation names.
type Request struct {
	Op        string `json:"op"`
	Container string `json:"container,omitempty"`
	// Start is for "start". Descriptors: the socket for hooks, if it says so.
	Start *StartRequest `json:"start,omitempty"`
	// Exec is for "exec". Descriptors: stdin, stdout, stderr (without a
	// terminal), each present or not as ExecRequest says.
	Exec *ExecRequest `json:"exec,omitempty"`
	// Attach is for "attach". Descriptors as for Exec.
	Attach *AttachRequest `json:"attach,omitempty"`
	Signal int            `json:"signal,omitempty"` // "signal", "end"
	// Grace is for "end": what has not ended by then is killed.
	Grace time.Duration `json:"grace,omitempty"`
	// All signals every process of the container, not just its first.
	All  bool   `json:"all,omitempty"`
	Rows uint16 `json:"rows,omitempty"` // "resize"
	Cols uint16 `json:"cols,omitempty"`
}

// The operations.
const (
	OpReady     = "ready"      // the container is going to be started in a moment, with this PID mode and cgroup
	OpStart     = "start"      // reply: Reply.PID once the process runs, or Reply.Failure
	OpExec      = "exec"       // first reply: PID (and the terminal's descriptor); second: Exit
	OpAttach    = "attach"     // first reply: PID, once attached; second, when the container's output ends: Exit
	OpSignal    = "signal"     //
	OpResize    = "resize"     // the container's terminal
	OpReopenLog = "reopen-log" //
	OpWait      = "wait"       // reply: Exit
	OpStatus    = "status"     // reply: Status
	OpWatch     = "watch"      // replies: one Status first, then one Event per change, until the client leaves
	OpForget    = "forget"     // drop what is kept of an exited container
	OpEnd       = "end"        // ask everything to end, and end with it
	OpShutdown  = "shutdown"   // kill what is left, reply, exit
)

// StartRequest starts a container.
type StartRequest struct {
	// Program is passed to the launch stage unread.
	Program json.RawMessage `json:"program,omitempty"`
	// The fields the supervisor itself needs, lifted out of the program:
	PID    program.PIDMode `json:"pid"`
	Target string          `json:"target,omitempty"`
	Cgroup program.Cgroup  `json:"cgroup"`
	// OOMScoreAdj is set by us where the stage can't: in a user namespace.
	OOMScoreAdj *int `json:"oom_score_adj,omitempty"`
	// ExitFile is where the exit is recorded (exit.json), before anybody is told.
	ExitFile string `json:"exit_file"`
	// Log is where output goes; see LogConfig.
	Log       LogConfig `json:"log"`
	Stdin     bool      `json:"stdin,omitempty"`      // keep a stdin open
	StdinOnce bool      `json:"stdin_once,omitempty"` // close it when the first attached client leaves
	Terminal  bool      `json:"terminal,omitempty"`
	// Hooks says that a socket comes with the request, for the launch stage (see
	// program.Hooks.Ask).
	Hooks bool `json:"hooks,omitempty"`
	// Restored is a file that holds the ID of the container's process once the
	// launch stage has ended with success: what the stage became has made it,
	// from a checkpoint, as our child. Empty: the stage becomes the process.
	Restored string `json:"restored,omitempty"`
	// Service is for a person's instance.
	Service *ServiceSpec `json:"service,omitempty"`
}

// When a service is started again.
const (
	RestartOnFailure = "on-failure"
	RestartAlways    = "always"
)

// ServiceSpec says what is done about a service besides starting it.
type ServiceSpec struct {
	Restart string      `json:"restart,omitempty"` // empty: never
	Retries int         `json:"retries,omitempty"` // of RestartOnFailure; 0 is no limit
	Health  *HealthSpec `json:"health,omitempty"`
}

// HealthSpec is a command that says whether a service is well.
type HealthSpec struct {
	Exec        *ExecRequest  `json:"exec"`
	Interval    time.Duration `json:"interval,omitempty"`     // 30 s
	StartPeriod time.Duration `json:"start_period,omitempty"` // in which a failure does not count
	Retries     int           `json:"retries,omitempty"`      // failures in a row; 3
}

// LogConfig says where a container's output is written. With no path set
// output goes to attached clients only.
type LogConfig struct {
	// CRI is one file in the kubelet's format: "RFC3339Nano stream F|P text".
	CRI string `json:"cri,omitempty"`
	// Out and Err are plain files, appended to.
	Out string `json:"out,omitempty"`
	Err string `json:"err,omitempty"`
	// MaxSize is where a file is moved away, with a number to its name, for a new one;
	// MaxFiles are kept of it, with the one in use. Zero is no limit.
	MaxSize  int64 `json:"max_size,omitempty"`
	MaxFiles int   `json:"max_files,omitempty"`
}

// ExecRequest runs a further process in a running container. The program's
// root and mounts are those of the container; of Program only Cgroup and Process are used.
type ExecRequest struct {
	Program  json.RawMessage `json:"program"`
	Cgroup   program.Cgroup  `json:"cgroup"`
	Terminal bool            `json:"terminal,omitempty"`
	// Timeout kills the exec's own process tree; zero means none.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Keep makes the process the parent of what its descendants leave behind, so
	// that those who left its session are found when it is killed.
	Keep bool `json:"keep,omitempty"`
	// Action is siflet-action's path, if that may be needed: it is opened outside.
	Action string `json:"action,omitempty"`
	// Enter has the process born in the container's mounts: others in there see it, and
	// /proc leads them to where it comes from. Without, the stage enters the container by
	// itself, as an older engine and a delegated runtime want it.
	Enter bool `json:"enter,omitempty"`
	// OOMScoreAdj is the program's, for a stage that can't set it itself.
	OOMScoreAdj *int `json:"oom_score_adj,omitempty"`
	// Which descriptors come with the request.
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
}

// AttachRequest connects a client to a running container's streams. The
// supervisor copies; for a terminal stdout carries everything.
type AttachRequest struct {
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
}

// Reply answers a Request. Exactly one of the fields that the operation names
// is set, or Failure.
type Reply struct {
	PID     int              `json:"pid,omitempty"` // on the host
	Exit    *Exit            `json:"exit,omitempty"`
	Status  *Status          `json:"status,omitempty"`
	Event   *Event           `json:"event,omitempty"`
	Failure *program.Failure `json:"failure,omitempty"`
}

// Exit is how a process ended: exit.json, and the answer to wait and exec.
type Exit struct {
	Version int `json:"version"`
	// Code is the exit status, or 128+signal.
	Code     int       `json:"code"`
	Signal   int       `json:"signal,omitempty"`
	OOM      bool      `json:"oom,omitempty"`
	TimedOut bool      `json:"timed_out,omitempty"` // exec only
	Asked    bool      `json:"asked,omitempty"`     // the instance was to end
	At       time.Time `json:"at"`
	// Message is why the container ended when its own status does not say,
	// e.g. that the launch stage was killed.
	Message string `json:"message,omitempty"`
}

// Status is a supervisor's view of its containers.
type Status struct {
	Version    int               `json:"version"`
	ID         string            `json:"id"`
	PID        int               `json:"pid"`
	InitPID    int               `json:"init_pid,omitempty"`
	Containers []ContainerStatus `json:"containers,omitempty"`
	// NetworkLost says why a network in user mode is no more.
	NetworkLost string `json:"network_lost,omitempty"`
}

// ContainerStatus is one container of a Status.
type ContainerStatus struct {
	ID        string    `json:"id"`
	PID       int       `json:"pid"` // on the host; 0 before the start and after the exit
	StartedAt time.Time `json:"started_at"`
	Exit      *Exit     `json:"exit,omitempty"`
	// Of a person's service: how often it was started again; that its image has
	// none; that processes run which its main one has left; when it is started next, and
	// how it ended; what its health check says.
	Restarts       int       `json:"restarts,omitempty"`
	Idle           bool      `json:"idle,omitempty"`
	Left           bool      `json:"left,omitempty"`
	Again          time.Time `json:"again,omitzero"`
	Last           *Exit     `json:"last,omitempty"`
	Health         string    `json:"health,omitempty"`
	HealthFailures int       `json:"health_failures,omitempty"`
}

// Event is a change: a container started (Exit nil) or ended.
type Event struct {
	Container string `json:"container"`
	PID       int    `json:"pid,omitempty"`
	Exit      *Exit  `json:"exit,omitempty"`
}
