// Package plan turns what was asked for into what will be done: a container's
// and its image's wishes into an OCI runtime spec, and that spec into the
// ordered program that the launch stage carries out.
//
// It is pure: it opens no file, makes no system call, reads no clock and no
// environment, so the same input gives the same plan. It writes nothing.
package plan

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

// ErrInvalid is the kind of every error of this package: what was asked for
// can't be done on any machine.
var ErrInvalid = errors.New("invalid container")

// invalidError is of the kind ErrInvalid, which its text does not repeat.
type invalidError struct{ err error }

func (e *invalidError) Error() string   { return e.err.Error() }
func (e *invalidError) Unwrap() []error { return []error{e.err, ErrInvalid} }

func invalid(format string, args ...any) error {
	return &invalidError{fmt.Errorf(format, args...)}
}

// Input is everything a container is made from.
type Input struct {
	Image    Image
	Process  Process
	Security Security
	// Mounts are the caller's, in the caller's order.
	Mounts []Mount
	// NoDefaultMounts leaves out /proc, /dev and the rest.
	NoDefaultMounts bool
	// Volumes is the beginning of the host paths where the image's volumes are kept
	// that the root itself can't hold, because it is read-only.
	Volumes string
	// BindSys shows the host's /sys, read-only, where sysfs can't be mounted: in a
	// user namespace that the network namespace does not belong to.
	BindSys bool
	// Etc are files of the instance, bound where the caller binds nothing.
	Etc     Etc
	Devices []specs.LinuxDevice
	// Resources are the limits asked for, or nil.
	Resources *specs.LinuxResources
	// CgroupPath is the container's group.
	CgroupPath string
	// Namespaces that are not the node's; see specs.Linux.
	Namespaces []specs.LinuxNamespace
	Node       Node
	// Seccomp is the profile in effect, or nil for none.
	Seccomp *specs.LinuxSeccomp
	// ProcessLabel and MountLabel are SELinux's, or empty.
	ProcessLabel, MountLabel string
}

// Image is what the image says about its containers.
type Image struct {
	Entrypoint, Cmd, Env []string
	WorkingDir, User     string
	// Volumes are directories that can be written, whatever the root is.
	Volumes []string
	// Native is an image that keeps Singularity's contract: it knows how to
	// start itself.
	Native bool
}

// Process is the command asked for.
type Process struct {
	Command, Args, Env []string
	Cwd                string
	Hostname           string // becomes HOSTNAME unless empty
	Terminal           bool
	OOMScoreAdj        *int
	Rlimits            []program.Rlimit
	Umask              *uint32
}

// Etc are paths on the host; an empty one is not bound.
type Etc struct {
	Hosts, Hostname, Resolv string
}

// Node is what the plan needs to know of the machine.
type Node struct {
	// Devices are the machine's, given to privileged containers.
	Devices []specs.LinuxDevice
}

// Mount is a bind mount or a file system the caller asks for.
type Mount struct {
	Source      string
	Target      string
	Type        string // "" = bind
	Data        string
	Readonly    bool
	RecursiveRO bool
	Propagation string
	Create      bool
	Optional    bool
	NoExec      bool
	NoSuid      bool
	NoDev       bool
	Relabel     bool
	Image       string
	UIDs, GIDs  *program.IDMap
}

// Security is a container's privileges; see runtime.Security.
type Security struct {
	Privileged    bool
	AddCaps       []string
	DropCaps      []string
	AmbientCaps   []string
	NoNewPrivs    bool
	ReadonlyRoot  bool
	Seccomp       string
	AppArmor      string
	MaskedPaths   []string
	ReadonlyPaths []string
	User          program.User
	AllCaps       bool
	HostDev       bool
	NoHostDev     bool
}

// Container joins the input into an OCI runtime spec. What that format can't
// say (extents, names of users, optional mounts) is in options that start with
// "x-siflet." or is given to Program.
func Container(in Input) (*specs.Spec, error) {
	caps, err := Capabilities(in.Security)
	if err != nil {
		return nil, err
	}
	args, err := Args(in.Image, in.Process)
	if err != nil {
		return nil, err
	}
	mounts, err := mounts(in)
	if err != nil {
		return nil, err
	}
	process := &specs.Process{
		Terminal:        in.Process.Terminal,
		User:            user(in.Image, in.Security.User, in.Process.Umask),
		Args:            args,
		Env:             Env(in.Image, in.Process),
		Cwd:             first(in.Process.Cwd, in.Image.WorkingDir, "/"),
		Capabilities:    caps,
		NoNewPrivileges: in.Security.NoNewPrivs,
		OOMScoreAdj:     in.Process.OOMScoreAdj,
		ApparmorProfile: in.Security.AppArmor,
		SelinuxLabel:    in.ProcessLabel,
	}
	for _, l := range in.Process.Rlimits {
		process.Rlimits = append(process.Rlimits, specs.POSIXRlimit{Type: l.Type, Soft: l.Soft, Hard: l.Hard})
	}
	devices, resources := devices(in)
	return &specs.Spec{
		Version:  specs.Version,
		Process:  process,
		Root:     &specs.Root{Path: "rootfs", Readonly: in.Security.ReadonlyRoot},
		Hostname: in.Process.Hostname,
		Mounts:   mounts,
		Linux: &specs.Linux{
			CgroupsPath:       in.CgroupPath,
			Namespaces:        in.Namespaces,
			Devices:           devices,
			Resources:         resources,
			Seccomp:           in.Seccomp,
			RootfsPropagation: rootPropagation(in.Mounts),
			MaskedPaths:       maskedPaths(in),
			ReadonlyPaths:     readonlyPaths(in),
			MountLabel:        in.MountLabel,
		},
	}, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
