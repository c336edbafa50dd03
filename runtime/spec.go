package runtime

import (
	"net/netip"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/program"
)

// Mode says whose namespace of one kind an instance or container is in.
type Mode string

// Namespace modes.
const (
	ModeInstance  Mode = ""          // the instance's own, shared by its containers
	ModeContainer Mode = "container" // one of the container's own (PID only)
	ModeHost      Mode = "host"      // the node's
	ModeTarget    Mode = "target"    // that of another container (PID only)
	ModeShared    Mode = "shared"    // for a container: the instance's, also where ModeContainer is the default (PID only)
)

// Namespaces of an instance.
type Namespaces struct {
	Network Mode `json:"network,omitempty"` // ModeInstance or ModeHost
	PID     Mode `json:"pid,omitempty"`     // default for its containers; ModeInstance runs sinit
	IPC     Mode `json:"ipc,omitempty"`     // ModeInstance or ModeHost
	UTS     Mode `json:"uts,omitempty"`     // ModeInstance or ModeHost
	// User is a user namespace of the instance's own, to which its other namespaces
	// belong; nil is the node's.
	User *UserNamespace `json:"user,omitempty"`
}

// UserNamespace says which ids of the node those of a user namespace are.
type UserNamespace struct {
	UIDs program.IDMap `json:"uids"`
	GIDs program.IDMap `json:"gids"`
}

// Metadata is what a caller wants to find again: the engine stores and filters,
// but never interprets it.
type Metadata struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	UID         string            `json:"uid,omitempty"`
	Attempt     uint32            `json:"attempt,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// InstanceSpec is what an instance is made from. It is recorded as given.
type InstanceSpec struct {
	// Name is unique among the instances of one engine.
	Name string `json:"name"`
	// Pod marks instances that came through CRI.
	Pod        bool           `json:"pod,omitempty"`
	Metadata   Metadata       `json:"metadata"`
	Handler    string         `json:"handler,omitempty"`
	Settings   *Handler       `json:"settings,omitempty"` // the handler's; nil is siflet's own way
	Namespaces Namespaces     `json:"namespaces"`
	Hostname   string         `json:"hostname,omitempty"`
	DNS        *network.DNS   `json:"dns,omitempty"` // nil: the host's resolv.conf
	Ports      []network.Port `json:"ports,omitempty"`
	// IngressBps and EgressBps limit the instance's traffic, in bits a second; 0 is no limit.
	IngressBps int64 `json:"ingress_bps,omitempty"`
	EgressBps  int64 `json:"egress_bps,omitempty"`
	// Sysctls are named by their paths below /proc/sys.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// CgroupParent is made if it is missing; empty means the engine's own.
	CgroupParent string                `json:"cgroup_parent,omitempty"`
	Resources    *specs.LinuxResources `json:"resources,omitempty"`
	// PodLimits are for whoever made CgroupParent to enforce; in the engine's own
	// parent the engine does.
	PodLimits PodLimits `json:"pod_limits,omitzero"`
	// SharedMemory is the size of /dev/shm in bytes; zero means 64 MiB.
	SharedMemory int64  `json:"shared_memory,omitempty"`
	LogDir       string `json:"log_dir,omitempty"`
	Privileged   bool   `json:"privileged,omitempty"`
	// SELinux is what the label is asked to be that its containers have unless they
	// ask for others.
	SELinux SELinux `json:"selinux,omitzero"`
	// EndWithInit ends the instance when sinit is told to terminate (a
	// person's instances; see supervisor.Config).
	EndWithInit bool `json:"end_with_init,omitempty"`
	// StayInCgroup leaves the supervisor in the cgroup of whoever makes the instance: a
	// service manager that looks there sees the end of the instance.
	StayInCgroup bool `json:"stay_in_cgroup,omitempty"`
	// BuiltInNetwork ignores CNI configuration.
	BuiltInNetwork bool `json:"built_in_network,omitempty"`
	// LoopbackOnly leaves a network namespace of its own unattached.
	LoopbackOnly bool `json:"loopback_only,omitempty"`
	// Attributes are kept for the caller verbatim (the CLI's options, CRI's
	// namespace options), at most 64 KiB.
	Attributes []byte `json:"attributes,omitempty"`
}

// InstanceState is derived, never stored.
type InstanceState string

// Instance states.
const (
	InstanceReady    InstanceState = "ready"
	InstanceNotReady InstanceState = "notready"
)

// Instance is what the engine knows of one instance. It is a copy.
type Instance struct {
	ID        string        `json:"id"`
	Spec      InstanceSpec  `json:"spec"`
	State     InstanceState `json:"state"`
	CreatedAt time.Time     `json:"created_at"`
	// SupervisorPID and InitPID are zero when there is none.
	SupervisorPID int             `json:"supervisor_pid,omitempty"`
	InitPID       int             `json:"init_pid,omitempty"`
	Network       *network.Result `json:"network,omitempty"`
	Addresses     []netip.Addr    `json:"addresses,omitempty"`
	// NetworkLost says why a network in user mode has ended before the instance.
	NetworkLost string `json:"network_lost,omitempty"`
	Netns       string `json:"netns,omitempty"` // pin; empty for the host's
	Cgroup      string `json:"cgroup,omitempty"`
	Labels      Labels `json:"labels,omitzero"`
	// BootID is the kernel's when it was made.
	BootID string `json:"boot_id,omitempty"`
	// Mute says that what watches over an instance that is not ready is there, and does not
	// answer: all of it may run. To stop or remove the instance kills it.
	Mute bool `json:"mute,omitempty"`
	// Reason is why a not-ready instance is not ready, when there is a reason to tell.
	Reason string `json:"reason,omitempty"`
}

// UpperKind says what carries a container's writable layer.
type UpperKind string

// Kinds of writable layer.
const (
	UpperDisk  UpperKind = ""      // a directory in the state root
	UpperTmpfs UpperKind = "tmpfs" // memory, gone with the container
	UpperNone  UpperKind = "none"  // read-only
	UpperDir   UpperKind = "dir"   // ContainerSpec.Overlay, a directory the user named
	UpperImage UpperKind = "image" // ContainerSpec.OverlayImage, a file system in a file
	UpperSelf  UpperKind = "self"  // none: the image is a directory, and changes are made in it
)

// Mount is a bind mount or a file system the container asks for.
type Mount struct {
	Source      string `json:"source,omitempty"` // host path; created as a directory when missing if Create
	Target      string `json:"target"`
	Type        string `json:"type,omitempty"` // "" = bind; tmpfs, ...
	Data        string `json:"data,omitempty"`
	Readonly    bool   `json:"readonly,omitempty"`
	RecursiveRO bool   `json:"recursive_ro,omitempty"`
	Propagation string `json:"propagation,omitempty"` // private (default), slave, shared
	Create      bool   `json:"create,omitempty"`
	Optional    bool   `json:"optional,omitempty"`
	NoExec      bool   `json:"noexec,omitempty"`
	NoSuid      bool   `json:"nosuid,omitempty"`
	NoDev       bool   `json:"nodev,omitempty"`
	Relabel     bool   `json:"relabel,omitempty"` // give the source the container's SELinux label
	// Image mounts another image (its reference) at Target; Source is a path in it.
	Image string `json:"image,omitempty"`
	// UIDs and GIDs map the ids of what is bound (an idmapped mount).
	UIDs *program.IDMap `json:"uids,omitempty"`
	GIDs *program.IDMap `json:"gids,omitempty"`
}

// Security is a container's privileges. The zero value is an ordinary
// unprivileged container as containerd and Docker run it: the default
// capabilities, the default seccomp profile, masked paths.
type Security struct {
	Privileged    bool         `json:"privileged,omitempty"`
	AddCaps       []string     `json:"add_caps,omitempty"`  // with or without CAP_; "ALL"
	DropCaps      []string     `json:"drop_caps,omitempty"` // applied after AddCaps except ALL, which comes first
	AmbientCaps   []string     `json:"ambient_caps,omitempty"`
	NoNewPrivs    bool         `json:"no_new_privs,omitempty"`
	ReadonlyRoot  bool         `json:"readonly_root,omitempty"`
	Seccomp       string       `json:"seccomp,omitempty"` // "" = "runtime/default", "unconfined", "localhost/<path>"
	AppArmor      string       `json:"apparmor,omitempty"`
	MaskedPaths   []string     `json:"masked_paths"`   // nil = the defaults; empty = none
	ReadonlyPaths []string     `json:"readonly_paths"` // likewise
	User          program.User `json:"user"`
	// AllCaps keeps everything the engine itself may have (CLI as root).
	AllCaps bool `json:"all_caps,omitempty"`
	// HostDev gives the host's whole /dev, as privileged does (CLI without --contain).
	HostDev bool `json:"host_dev,omitempty"`
	// NoHostDev keeps them from a privileged container, which gets those it asks for.
	NoHostDev bool `json:"no_host_dev,omitempty"`
}

// ContainerSpec is what a container is made from. It is recorded as given, but for
// Env and Action, in which secrets are: see secrets.go.
type ContainerSpec struct {
	// Name is unique within the instance together with Metadata.Attempt.
	Name     string   `json:"name"`
	Metadata Metadata `json:"metadata"`
	Image    string   `json:"image"` // reference or ID
	// Checkpoint is the path of an archive of which the process is made when the
	// container starts. Image, if it is not empty, and what says how the process
	// is run must then be as they were.
	Checkpoint string `json:"checkpoint,omitempty"`
	// ImageReference is what the caller calls the image, for status.
	ImageReference string              `json:"image_reference,omitempty"`
	Command        []string            `json:"command,omitempty"` // replaces the image's entry point
	Args           []string            `json:"args,omitempty"`    // replaces its CMD
	Env            []string            `json:"env,omitempty"`
	Cwd            string              `json:"cwd,omitempty"`
	CwdFallback    []string            `json:"cwd_fallback,omitempty"`
	Mounts         []Mount             `json:"mounts,omitempty"`
	Devices        []specs.LinuxDevice `json:"devices,omitempty"`
	// CDI names devices, vendor/class=name, that files in Config.CDIDirs describe.
	CDI      []string          `json:"cdi,omitempty"`
	Files    []program.File    `json:"files,omitempty"`
	Accounts *program.Accounts `json:"accounts,omitempty"`
	// NoDefaultMounts leaves out /proc, /sys, /dev, /dev/shm, ... : the caller
	// lists all it wants in Mounts (CLI).
	NoDefaultMounts bool                  `json:"no_default_mounts,omitempty"`
	LogPath         string                `json:"log_path,omitempty"` // CRI format; relative to the instance's LogDir, or absolute
	OutPath         string                `json:"out_path,omitempty"` // plain
	ErrPath         string                `json:"err_path,omitempty"` // plain
	Stdin           bool                  `json:"stdin,omitempty"`
	StdinOnce       bool                  `json:"stdin_once,omitempty"`
	Terminal        bool                  `json:"terminal,omitempty"`
	PID             Mode                  `json:"pid,omitempty"`
	PIDTarget       string                `json:"pid_target,omitempty"` // container id
	Security        Security              `json:"security"`
	SELinux         SELinux               `json:"selinux,omitzero"` // what the label is asked to be; what is open is as the instance's
	Resources       *specs.LinuxResources `json:"resources,omitempty"`
	OOMScoreAdj     *int                  `json:"oom_score_adj,omitempty"` // nil: the supervisor's, or 0 if that is lower
	Rlimits         []program.Rlimit      `json:"rlimits,omitempty"`
	Umask           *uint32               `json:"umask,omitempty"`       // nil: the supervisor's
	StopSignal      string                `json:"stop_signal,omitempty"` // "" = the image's, else SIGTERM
	Upper           UpperKind             `json:"upper,omitempty"`
	Overlay         string                `json:"overlay,omitempty"`
	// OverlayImage is the file system of UpperImage; Layers are over the image's own, lowest
	// first.
	OverlayImage *program.Extent  `json:"overlay_image,omitempty"`
	Layers       []program.Extent `json:"layers,omitempty"`
	// Action is the JSON action.Request that siflet-action carries out in an
	// image with a /.singularity.d. Nil: the engine makes one from Command, Args
	// and Env when the image is a native SIF.
	Action []byte `json:"action,omitempty"`
	// CgroupNamespace lets it see and, with a mount, change its own cgroups alone, where
	// NoDefaultMounts is set (v2 only).
	CgroupNamespace bool `json:"cgroup_namespace,omitempty"`
	// Service is for the container of a person's instance.
	Service *Service `json:"service,omitempty"`
	// Keep makes all that the process leaves behind end with it when it is killed.
	Keep bool `json:"keep,omitempty"`
	// Hangup is closed when whoever is at the other end has gone; nil is never.
	Hangup <-chan struct{} `json:"-"`
}

// ContainerState is derived, never stored; see State.
type ContainerState string

// Container states.
const (
	ContainerCreated ContainerState = "created"
	ContainerRunning ContainerState = "running"
	ContainerExited  ContainerState = "exited"
	ContainerUnknown ContainerState = "unknown"
)

// Container is what the engine knows of one container. It is a copy.
type Container struct {
	ID         string         `json:"id"`
	InstanceID string         `json:"instance_id"`
	Spec       ContainerSpec  `json:"spec"`
	State      ContainerState `json:"state"`
	ImageID    string         `json:"image_id"`
	CreatedAt  time.Time      `json:"created_at"`
	StartedAt  time.Time      `json:"started_at"`  // zero before
	FinishedAt time.Time      `json:"finished_at"` // zero before
	PID        int            `json:"pid,omitempty"`
	ExitCode   int            `json:"exit_code"`
	OOMKilled  bool           `json:"oom_killed,omitempty"`
	Lost       bool           `json:"lost,omitempty"`   // it ended with its supervisor: the exit code means nothing
	Reason     string         `json:"reason,omitempty"` // a start that did not work, an unknown end
	// Volumes are the IDs of the images that mounts name.
	Volumes    map[string]string     `json:"volumes,omitempty"`
	LogPath    string                `json:"log_path,omitempty"`    // absolute
	StopSignal string                `json:"stop_signal,omitempty"` // effective
	Cgroup     string                `json:"cgroup,omitempty"`
	Labels     Labels                `json:"labels,omitzero"`     // SELinux's; Process is empty if privileged
	Resources  *specs.LinuxResources `json:"resources,omitempty"` // effective, after updates
	Service    ServiceState          `json:"service_state,omitzero"`
	// Forgot says that Env and Action of the spec are not known any more.
	Forgot bool `json:"forgot,omitempty"`
}

// ExecSpec is a further process in a running container.
type ExecSpec struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // added to the container's
	// NoContainerEnv leaves the container's own out; the image's counts.
	NoContainerEnv bool          `json:"no_container_env,omitempty"`
	Cwd            string        `json:"cwd,omitempty"`
	Terminal       bool          `json:"terminal,omitempty"`
	Timeout        time.Duration `json:"timeout,omitempty"`
	// Security is the container's unless set.
	Security *Security `json:"security,omitempty"`
	// Action replaces the engine's own request to siflet-action (CLI).
	Action []byte `json:"action,omitempty"`
	// Keep makes all that the process leaves behind end with it when it is killed.
	Keep bool `json:"keep,omitempty"`
	// Hangup is closed when whoever is at the other end has gone; nil is never.
	Hangup <-chan struct{} `json:"-"`
}
