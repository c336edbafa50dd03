// Package program holds the plain-data form of what happens inside a new
// container: which namespaces to enter, what to mount where, with which
// privileges to run which process. runtime/plan produces programs; the launch
// stage of siflet-instance carries them out, in the order of the fields.
//
// It is the wire format between the engine and the instance process, so it
// depends on nothing but the standard library and every change to it must keep
// an older siflet-instance working (see Version).
package program

import "strconv"

// Version is the newest format this package writes. A launch stage refuses a program
// with a higher version and carries out a lower one. A program says the lowest version
// whose stages carry out all that is in it.
const (
	Version         = VersionUnprivileged
	VersionPlain    = 1
	VersionHooks    = 2 // with Hooks
	VersionDelegate = 3 // with Delegate
	VersionRestore  = 4 // with Restore
	VersionLabel    = 5 // with labels of Root and Extent
	VersionDirect   = 6 // with Root.Direct
	VersionImage    = 7 // with Root.Image

	VersionUnprivileged = 8 // with Unprivileged
)

// Program is everything the launch stage does before the container's own
// process takes over.
type Program struct {
	Version int    `json:"version"`
	Cgroup  Cgroup `json:"cgroup"`
	// Namespaces says which namespaces the launch stage is created in (by the
	// supervisor, through clone flags or setns) and which it unshares itself.
	Namespaces Namespaces `json:"namespaces"`
	Root       Root       `json:"root"`
	// Mounts are made in order, on top of Root. Targets are resolved inside the
	// root: a symlink in the image can't lead a mount outside.
	Mounts  []Mount  `json:"mounts,omitempty"`
	Devices []Device `json:"devices,omitempty"`
	// Files are written into the scratch tmpfs and bind mounted at Target.
	Files         []File            `json:"files,omitempty"`
	Accounts      *Accounts         `json:"accounts,omitempty"`
	MaskedPaths   []string          `json:"masked_paths,omitempty"`
	ReadonlyPaths []string          `json:"readonly_paths,omitempty"`
	Sysctls       map[string]string `json:"sysctls,omitempty"`
	Hooks         *Hooks            `json:"hooks,omitempty"`
	// Process is what runs at the end.
	Process Process `json:"process"`
	// Delegate leaves to another runtime what comes after the mounts of the root.
	Delegate *Delegate `json:"delegate,omitempty"`
	// Restore makes the process from a checkpoint instead; of Process only what
	// is not in it counts.
	Restore *Restore `json:"restore,omitempty"`
	// Unprivileged says that the stage is in a user namespace that was made without
	// privileges: squashfs takes FUSE there, and devices can't be made.
	Unprivileged bool `json:"unprivileged,omitempty"`
}

// FUSEMark begins the message of a stage that asks for a squashfs file system to be
// served. The rest are options of squashfuse; the device and the image come with it.
const FUSEMark = 'F'

// HoldMark begins the message of a stage that comes with the lock on the directory in which
// an Unpacked one is: as long as that is open, the file system is there.
const HoldMark = 'H'

// LockMark begins the message of a stage that comes with the lock on the directory that keeps
// the container's changes: it is the container's to its end.
const LockMark = 'L'

// Unpacked is the FS of an extent that is a directory, in one that is there as long as
// somebody has its lock.
const Unpacked = "unpacked"

// BeginMark is sent by a stage that is about to have a delegated runtime begin the
// container's program, and is the supervisor's answer that it may. From then on the start
// comes to its end, whoever leaves, and is never repeated.
const BeginMark = 'B'

// Restore says what criu is to make a process from. See criu(8).
type Restore struct {
	Criu   string `json:"criu"`   // the program's path
	Images string `json:"images"` // directory of the process's images
	// Work is a directory for criu's log, restore.log, and for the process's
	// ID, pid, as the supervisor sees it.
	Work string `json:"work"`
	// Scratch is an empty directory, over which the root is made.
	Scratch string `json:"scratch"`
	// Stdio says what the process's first three descriptors were, "pipe:[12]" for one.
	Stdio []string `json:"stdio,omitempty"`
}

// Cgroup says how to join, watch and kill a cgroup without linking a cgroup
// library. The zero value leaves the process where it is.
type Cgroup struct {
	// Join lists files; the thread that writes "0" to each enters: alone if they
	// are v1 tasks files, with its process if they are cgroup.procs files.
	Join []string `json:"join,omitempty"`
	// Dir is the cgroup v2 directory, for clone3(CLONE_INTO_CGROUP), also where
	// v2 is mounted beside v1 and Join has the rest. Empty without v2.
	Dir string `json:"dir,omitempty"`
	// Procs lists the members of the cgroup.
	Procs string `json:"procs,omitempty"`
	// Kill is the cgroup.kill file of cgroup v2. Empty on v1.
	Kill string `json:"kill,omitempty"`
	// OOM is a file with a line "oom_kill N".
	OOM string `json:"oom,omitempty"`
}

// PIDMode says which PID namespace a container's process is in.
type PIDMode string

// PID namespace modes.
const (
	PIDContainer PIDMode = "container" // a new one; the process is its PID 1
	PIDShared    PIDMode = "shared"    // the instance's, under sinit
	PIDHost      PIDMode = "host"      // the node's
	PIDTarget    PIDMode = "target"    // that of the container named Target
)

// Namespaces is what the supervisor and the launch stage need to know of
// namespaces. Network, IPC and UTS are the instance's (the supervisor is in
// them already) unless the instance was made with the host's.
type Namespaces struct {
	PID    PIDMode `json:"pid"`
	Target string  `json:"target,omitempty"` // container id, for PIDTarget
	Cgroup bool    `json:"cgroup,omitempty"` // unshare the cgroup namespace after joining the cgroup
	// Hostname and Loopback are for a stage that was born in new UTS and network namespaces
	// which nobody has made ready.
	Hostname string `json:"hostname,omitempty"`
	Loopback bool   `json:"loopback,omitempty"`
}

// Root describes the root file system: overlay(extents..., upper).
type Root struct {
	// Extents are the image's file systems, lowest first.
	Extents []Extent `json:"extents,omitempty"`
	// Dir is used instead of Extents: a directory (sandbox image).
	Dir string `json:"dir,omitempty"`
	// Direct makes Dir itself the root: what the container writes is written there.
	Direct bool `json:"direct,omitempty"`
	// Upper and Work are directories on disk; both empty means that Tmpfs (or
	// a small private tmpfs, for mount points) carries the upper layer.
	Upper string `json:"upper,omitempty"`
	Work  string `json:"work,omitempty"`
	// Image is used instead of Upper and Work: an ext3 file system in a file, with both
	// in it. It is of the container alone.
	Image *Extent `json:"image,omitempty"`
	// Volatile lets the overlay skip syncing the upper layer (containers whose
	// upper is thrown away).
	Volatile bool `json:"volatile,omitempty"`
	// TmpfsSize is the size in bytes of the tmpfs for the upper layer; zero
	// means the kernel's default for a writable root and 64 MiB otherwise.
	TmpfsSize int64 `json:"tmpfs_size,omitempty"`
	// Readonly remounts the finished root read-only.
	Readonly bool `json:"readonly,omitempty"`
	// NoSuid and NoDev are mount flags of the root.
	NoSuid bool `json:"nosuid,omitempty"`
	NoDev  bool `json:"nodev,omitempty"`
	// Propagation of the root in the container: "private" (default), "slave", "shared".
	Propagation string `json:"propagation,omitempty"`
	// Label is SELinux's, of everything in the root and in the file systems that are
	// made for the container.
	Label string `json:"label,omitempty"`
}

// Extent is one read-only file system inside a file, or a directory of the host that
// is used as one.
type Extent struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	FS     string `json:"fs"` // "squashfs", "ext3", "directory" or Unpacked
	// Label is SELinux's, which the kernel asks about even below an overlay that has one
	// of its own. It is the same for everybody, who share what is mounted.
	Label string `json:"label,omitempty"`
	// Exact says that there was no symlink in Path when it was decided that the file may
	// be used, so there may be none when it is opened.
	Exact bool `json:"exact,omitempty"`
}

// Mount is one mount inside the root.
type Mount struct {
	// Type is "bind", or a file system type: proc, sysfs, tmpfs, devpts, mqueue,
	// cgroup (v1 hierarchies or v2, whichever the host has, read-only unless
	// Readonly is false), shm (the instance's shared /dev/shm), volume (a directory of
	// the root, made if it is missing; what is written there goes to the directory
	// Source on the host if that is set, which is made, and to the root otherwise).
	Type   string `json:"type"`
	Source string `json:"source,omitempty"`
	Target string `json:"target"`
	// Data is the file system's own option string, e.g. "mode=755,size=64m".
	Data string `json:"data,omitempty"`
	// Recursive binds the tree below Source too.
	Recursive bool `json:"recursive,omitempty"`
	Readonly  bool `json:"readonly,omitempty"`
	// RecursiveReadonly applies Readonly to every mount below (mount_setattr).
	RecursiveReadonly bool `json:"recursive_readonly,omitempty"`
	NoSuid            bool `json:"nosuid,omitempty"`
	NoDev             bool `json:"nodev,omitempty"`
	NoExec            bool `json:"noexec,omitempty"`
	// Propagation is "" or "private", "slave", "shared", applied recursively.
	// For "shared" the source is opened in the supervisor's own mount
	// namespace so that it stays a peer of the host's mount.
	Propagation string `json:"propagation,omitempty"`
	// Optional skips the mount when the source is missing (CLI system binds).
	Optional bool `json:"optional,omitempty"`
	// Image mounts these extents (read-only) at Target; Source is then a path
	// inside them ("" = their root).
	Image []Extent `json:"image,omitempty"`
	// UIDMap and GIDMap, texts as in /proc/PID/uid_map, map the ids of what is
	// bound (an idmapped mount).
	UIDMap string `json:"uid_map,omitempty"`
	GIDMap string `json:"gid_map,omitempty"`
}

// IDMap maps Length ids from Container on to those of the host from Host on.
type IDMap struct {
	Container uint32 `json:"container"`
	Host      uint32 `json:"host"`
	Length    uint32 `json:"length"`
}

// String is the map as /proc/PID/uid_map takes it.
func (m IDMap) String() string {
	const decimal = 10
	b := strconv.AppendUint(nil, uint64(m.Container), decimal)
	b = strconv.AppendUint(append(b, ' '), uint64(m.Host), decimal)
	return string(strconv.AppendUint(append(b, ' '), uint64(m.Length), decimal))
}

// Device is a device node to make (or bind, where mknod is not permitted).
type Device struct {
	Path  string `json:"path"`           // in the container
	Type  string `json:"type,omitempty"` // "c" or "b"
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
	Mode  uint32 `json:"mode"`
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	// Host is bind mounted when set, instead of making a node.
	Host string `json:"host,omitempty"`
}

// File is a small file placed in the container.
type File struct {
	Target string `json:"target"`
	Data   string `json:"data"`
	Mode   uint32 `json:"mode"`
}

// Accounts asks for copies of the image's /etc/passwd and /etc/group with the
// caller's lines added (or replaced, keeping the image's shell), as
// Singularity does ("config passwd", "config group").
type Accounts struct {
	Passwd string   `json:"passwd,omitempty"` // one passwd(5) line
	Groups []string `json:"groups,omitempty"` // group(5) lines
}

// Rlimit is one setrlimit(2).
type Rlimit struct {
	Type string `json:"type"` // RLIMIT_NOFILE, ...
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Capabilities are names such as CAP_NET_BIND_SERVICE. The launch stage takes
// the part that is in its own permitted set; All means everything in it.
type Capabilities struct {
	All         bool     `json:"all,omitempty"`
	Bounding    []string `json:"bounding,omitempty"`
	Effective   []string `json:"effective,omitempty"`
	Permitted   []string `json:"permitted,omitempty"`
	Inheritable []string `json:"inheritable,omitempty"`
	Ambient     []string `json:"ambient,omitempty"`
}

// User says who the process runs as. Names are looked up in the container's
// own /etc/passwd and /etc/group by the launch stage.
type User struct {
	// Spec is "", "name", "uid", "name:group" or "uid:gid", as in an image's USER.
	// "" with no UID means root (0:0).
	Spec string  `json:"spec,omitempty"`
	UID  *uint32 `json:"uid,omitempty"`
	GID  *uint32 `json:"gid,omitempty"`
	// Groups are supplementary. Unless Strict, those that /etc/group gives the
	// user are added (CRI SupplementalGroupsPolicy Merge).
	Groups []uint32 `json:"groups,omitempty"`
	Strict bool     `json:"strict,omitempty"`
	// Keep leaves uid, gid and groups as they are (CLI without fakeroot).
	Keep bool `json:"keep,omitempty"`
}

// Process is the program to run and with what privileges.
type Process struct {
	// Args is the command. The first word is looked up in the PATH of Env,
	// inside the container. Ignored when Action is set and the root has a
	// /.singularity.d.
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	// Cwd must exist or is created when CreateCwd; "" is "/".
	Cwd       string `json:"cwd,omitempty"`
	CreateCwd bool   `json:"create_cwd,omitempty"`
	// CwdFallback is tried when Cwd can't be entered (CLI: home, then /).
	CwdFallback []string `json:"cwd_fallback,omitempty"`
	// HomeFromPasswd sets HOME from the container's /etc/passwd when Env has none.
	HomeFromPasswd bool          `json:"home_from_passwd,omitempty"`
	Terminal       bool          `json:"terminal,omitempty"`
	Rows           uint16        `json:"rows,omitempty"`
	Cols           uint16        `json:"cols,omitempty"`
	User           User          `json:"user"`
	Umask          *uint32       `json:"umask,omitempty"`
	Capabilities   *Capabilities `json:"capabilities,omitempty"` // nil keeps the caller's
	NoNewPrivs     bool          `json:"no_new_privs,omitempty"`
	Rlimits        []Rlimit      `json:"rlimits,omitempty"`
	OOMScoreAdj    *int          `json:"oom_score_adj,omitempty"`
	// Seccomp is a program of struct sock_filter (8 bytes each), native endian.
	Seccomp []byte `json:"seccomp,omitempty"`
	// SeccompFlags are flags of seccomp(2) SECCOMP_SET_MODE_FILTER.
	SeccompFlags uint32 `json:"seccomp_flags,omitempty"`
	AppArmor     string `json:"apparmor,omitempty"`
	SELinux      string `json:"selinux,omitempty"`
	// NewSession calls setsid; implied by Terminal.
	NewSession bool `json:"new_session,omitempty"`
	// Action, when the root has a /.singularity.d, is the JSON request of
	// siflet-action, which the launch stage execs in place of Args. ActionPath
	// is siflet-action's path on the host, opened before the root changes.
	Action     []byte `json:"action,omitempty"`
	ActionPath string `json:"action_path,omitempty"`
	// ActionAlways uses the action even without a /.singularity.d.
	ActionAlways bool `json:"action_always,omitempty"`
}

// Failure is what the launch stage reports when a step did not work.
type Failure struct { //nolint:errname // what is sent first, an error second
	// Step names the step, e.g. "mount /data".
	Step string `json:"step"`
	// Reason is the text of the error.
	Reason string `json:"reason"`
	// Kind is "", "not_found" (no such command, user or directory),
	// "permission" (not executable), "invalid", "not_running" or one of those below.
	Kind string `json:"kind,omitempty"`
	// Code is the exit status that siflet-action ended with: the one that a
	// person's command ends with. Zero when another step failed.
	Code int `json:"code,omitempty"`
}

// Kinds of failure that are the node's: a disk without room, and a place on it that can't
// be written: it is read-only, or not a directory any more.
const (
	FailedRoom  = "no_room"
	FailedPlace = "no_place"
)

// FailedFilter is the kind of failure of a stage that its seccomp filter killed.
const FailedFilter = "seccomp"

// Error makes a Failure an error: "step: reason".
func (f *Failure) Error() string { return f.Step + ": " + f.Reason }
