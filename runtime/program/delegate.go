package program

// Delegate is an OCI runtime, with the command line that those have, and what it
// is to run.
type Delegate struct {
	// Runtime is its path, Args what comes first on its command line, Root the
	// directory where it keeps its state.
	Runtime string   `json:"runtime"`
	Args    []string `json:"args,omitempty"`
	Root    string   `json:"root"`
	ID      string   `json:"id"` // the container's
	// Dir is a directory with one called bundle, where the bundle is, seen by the
	// launch stage alone: config.json, rootfs, and Mounts[i] of the program as "mI".
	// The files pid and log are beside it.
	Dir string `json:"dir"`
	// Config is the text of config.json or, for an exec, of its process. In it Mark
	// with "-user", "-args" or "-request", in quotes, stands for the process's user, its
	// arguments and an entry of its environment, and with "-home" for its home.
	Config string `json:"config"`
	Mark   string `json:"mark"`
	// Hide is where cgroup v2 is mounted beside v1: some runtimes refuse to work with
	// both. They see v1 alone, and are started in the container's v2 cgroup.
	Hide string `json:"hide,omitempty"`
	// Patience is how long the runtime may take for each call, in nanoseconds.
	Patience int64 `json:"patience"`
}

// What siflet-action is called in a container of a delegated runtime, and the
// variable that has its request there.
const (
	ActionTarget  = "/.siflet-action"
	ActionRequest = "SIFLET_ACTION_REQUEST"
)

// Where siflet-action finds the named pipe that says what became of the start: a byte
// when it begins, a Failure as JSON if it did not work, and the end when it did. In the
// bundle it is ReportFile.
const (
	ReportTarget = "/.siflet-report"
	ReportFile   = "report"
)

// HookOutput is a file in Dir where hooks' words go, if the runtime is crun.
const HookOutput = "hooks"

// IdleName is what siflet-action calls itself before it ends when the image has
// nothing to start: an instance of it is there to work in.
const IdleName = "siflet-idle"

// ActionName is what siflet-action is called until it has found what to run, and ScriptName
// what it calls itself when it is the container's process itself, as a script's interpreter.
const (
	ActionName = "siflet-action"
	ScriptName = "siflet-script"
)

// ActionCrash is the status of a Go program that its runtime ends, and ActionCrashed what that
// means of siflet-action. The line before says what its runtime missed.
const (
	ActionCrash   = 2
	ActionCrashed = "siflet-action, which prepares the program's environment, could not run: " +
		"it takes up to 12 processes and threads (--pids-limit, pids.max, ulimit -u)"
)

// Bundle is the directory of the bundle.
func (d *Delegate) Bundle() string { return d.Dir + "/bundle" }

func (d *Delegate) field(s *Reader, key string) {
	switch key {
	case "runtime":
		d.Runtime = s.Text()
	case "args":
		d.Args = s.Texts()
	case "hide":
		d.Hide = s.Text()
	case "root":
		d.Root = s.Text()
	case "id":
		d.ID = s.Text()
	case "dir":
		d.Dir = s.Text()
	case "config":
		d.Config = s.Text()
	case "mark":
		d.Mark = s.Text()
	case "patience":
		d.Patience = s.Int()
	default:
		s.Skip()
	}
}
