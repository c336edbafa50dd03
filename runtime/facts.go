package runtime

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/cdi"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/selinux"
	"github.com/siflet/siflet/runtime/supervisor"
)

const recordVersion = 1

// instanceRecord is instance.json.
type instanceRecord struct {
	Version       int          `json:"version"`
	BootID        string       `json:"boot_id"`
	ID            string       `json:"id"`
	Spec          InstanceSpec `json:"spec"`
	CreatedAt     time.Time    `json:"created_at"`
	ReadyAt       time.Time    `json:"ready_at,omitzero"`
	StoppedAt     time.Time    `json:"stopped_at,omitzero"`  // nothing of it is left but records
	RemovingAt    time.Time    `json:"removing_at,omitzero"` // and the records are going too
	SupervisorPID int          `json:"supervisor_pid,omitempty"`
	// SupervisorStart tells it from others with its number, for when it can't be asked.
	SupervisorStart uint64          `json:"supervisor_start,omitempty"`
	InitPID         int             `json:"init_pid,omitempty"`
	Network         *network.Result `json:"network,omitempty"`
	Netns           string          `json:"netns,omitempty"`
	Cgroup          string          `json:"cgroup,omitempty"`
	MadeParent      string          `json:"made_parent,omitempty"` // see noteParent
	Labels          selinux.Labels  `json:"labels,omitzero"`
	Reason          string          `json:"reason,omitempty"`
}

// containerRecord is container.json.
type containerRecord struct {
	Version    int                      `json:"version"`
	ID         string                   `json:"id"`
	InstanceID string                   `json:"instance_id"`
	Spec       ContainerSpec            `json:"spec"`
	Image      resolvedImage            `json:"image"`
	Images     map[string]resolvedImage `json:"mounted_images,omitempty"` // by the references that mounts name
	CreatedAt  time.Time                `json:"created_at"`
	StartedAt  time.Time                `json:"started_at,omitzero"`
	RemovingAt time.Time                `json:"removing_at,omitzero"`
	// FailedAt and Reason tell of a start that did not work.
	FailedAt   time.Time             `json:"failed_at,omitzero"`
	Reason     string                `json:"reason,omitempty"`
	LostAt     time.Time             `json:"lost_at,omitzero"` // when nothing was left of it, and nobody to tell how it ended
	PID        int                   `json:"pid,omitempty"`
	LogPath    string                `json:"log_path,omitempty"`
	StopSignal string                `json:"stop_signal,omitempty"`
	Resources  *specs.LinuxResources `json:"resources,omitempty"`
	Upper      string                `json:"upper,omitempty"`   // directory of the writable layer
	Restore    *restoreRecord        `json:"restore,omitempty"` // from a checkpoint
	Volumes    string                `json:"volumes,omitempty"` // where the image's volumes are writable, if not in the upper
	Adjust     *plan.Adjustment      `json:"adjust,omitempty"`  // what plugins of the node changed
	CDI        *cdi.Edits            `json:"cdi,omitempty"`     // what its named devices bring
	Hooks      *specs.Hooks          `json:"hooks,omitempty"`
	Labels     selinux.Labels        `json:"labels,omitzero"`
	HooksEnded bool                  `json:"hooks_ended,omitempty"` // its poststop hooks have run
	Apart      bool                  `json:"apart,omitempty"`       // the spec's secrets are not in the record
}

// instance is one instance in memory. Its mutex guards it and its containers,
// and is held only to read or write facts.
type instance struct {
	id  string
	dir string // state
	run string // run files and the control socket

	mu         sync.Mutex
	rec        instanceRecord
	alive      bool   // the supervisor answers
	mute       bool   // it is there, and does not
	gone       bool   // removed: not to be used any more
	ending     bool   // its init was told to end
	unheard    bool   // its ID may have reached nobody yet
	netLost    string // why its network is no more, as of when it was asked for
	left       bool   // nobody waits for it to be made
	corrupt    error  // what is wrong with its record
	announced  bool   // its end was told
	claim      *claim
	watch      *watch
	client     *supervisor.Client
	containers map[string]*container
	first      *firstStage // until a container takes it
}

// container is one container in memory, guarded by its instance's mutex.
type container struct {
	id   string
	dir  string
	inst *instance

	rec       containerRecord
	exit      *supervisor.Exit
	service   ServiceState // as of when it was asked for
	planned   *planned     // what was found out at the creation, until the start
	claim     *claim
	gone      bool
	unheard   bool          // its ID may have reached nobody yet
	asked     bool          // to stop, by its own signal
	corrupt   error         // what is wrong with its record
	readied   chan struct{} // closed when its stage waits; nil without one
	done      chan struct{} // closed at the end of the process, known or not
	ended     bool          // done is closed
	announced bool          // its start was told
	forgot    bool          // its secrets went with the run files
	revised   bool          // its limits changed while it was starting
	disk      diskUsage
	hooksEnd  sync.Once // guards the running of poststop hooks
}

// claim is a long operation under way.
type claim struct {
	what string
	done chan struct{}
	err  error // valid once done is closed
}

func newClaim(what string) *claim { return &claim{what: what, done: make(chan struct{})} }

// settle ends a claim. The caller no longer holds the mutex.
func (i *instance) settle(c *claim, err error) {
	i.mu.Lock()
	if i.claim == c {
		i.claim = nil
	}
	i.mu.Unlock()
	c.err = err
	close(c.done)
}

// take claims the instance, waiting for whoever has it. It returns nil when
// the instance has been removed meanwhile.
func (i *instance) take(ctx context.Context, what string) (*claim, error) {
	for {
		i.mu.Lock()
		if i.gone {
			i.mu.Unlock()
			return nil, nil //nolint:nilnil // nothing left to claim is no error
		}
		held := i.claim
		if held == nil {
			c := newClaim(what)
			i.claim = c
			i.mu.Unlock()
			return c, nil
		}
		i.mu.Unlock()
		select {
		case <-held.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take is instance.take for a container.
func (c *container) take(ctx context.Context, what string) (*claim, error) {
	for {
		c.inst.mu.Lock()
		if c.gone {
			c.inst.mu.Unlock()
			return nil, nil //nolint:nilnil // nothing left to claim is no error
		}
		held := c.claim
		if held == nil {
			mine := newClaim(what)
			c.claim = mine
			c.inst.mu.Unlock()
			return mine, nil
		}
		c.inst.mu.Unlock()
		select {
		case <-held.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *container) settle(held *claim, err error) {
	c.inst.mu.Lock()
	if c.claim == held {
		c.claim = nil
	}
	c.inst.mu.Unlock()
	held.err = err
	close(held.done)
}

// endLocked tells everyone who waits that the process is gone.
func (c *container) endLocked() {
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

func (c *container) stateLocked() ContainerState {
	return containerState(facts{
		started:  !c.rec.StartedAt.IsZero(),
		finished: c.exit != nil || !c.rec.FailedAt.IsZero() || !c.rec.LostAt.IsZero(),
		alive:    c.inst.alive,
	})
}

// startFailed is the exit code of a container whose start did not work.
const startFailed = 128

// snapshotLocked is a copy for the outside.
func (c *container) snapshotLocked() Container {
	r := &c.rec
	out := Container{
		ID: c.id, InstanceID: c.inst.id, Spec: r.Spec, State: c.stateLocked(), ImageID: r.Image.ID,
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, Reason: r.Reason, LogPath: r.LogPath,
		StopSignal: r.StopSignal, Resources: r.Resources,
		Service: c.service, Forgot: c.forgot,
		Cgroup: filepath.Join(c.inst.rec.Cgroup, c.id), Volumes: r.volumes(), Labels: r.labels(),
	}
	switch out.State {
	case ContainerRunning:
		out.PID = r.PID
	case ContainerExited:
		switch {
		case c.exit != nil:
			out.ExitCode, out.OOMKilled, out.FinishedAt = c.exit.Code, c.exit.OOM, c.exit.At
			if out.Reason == "" {
				out.Reason = c.exit.Message
			}
		case !r.LostAt.IsZero():
			out.ExitCode, out.FinishedAt, out.Lost = unseenExit, r.LostAt, true
		default:
			out.ExitCode, out.FinishedAt = startFailed, r.FailedAt
		}
	case ContainerUnknown:
		if out.Reason == "" {
			out.Reason = "its supervisor is gone and left no exit status"
		}
	case ContainerCreated:
	}
	return out
}

func (i *instance) snapshotLocked() Instance {
	r := &i.rec
	out := Instance{
		ID: i.id, Spec: r.Spec, State: instanceState(r.ReadyAt, r.StoppedAt, i.alive), CreatedAt: r.CreatedAt,
		Network: r.Network, Netns: r.Netns, Cgroup: r.Cgroup, Reason: r.Reason, Labels: r.Labels, BootID: r.BootID, NetworkLost: i.netLost,
		Mute: i.mute && r.StoppedAt.IsZero(),
	}
	if i.alive {
		out.SupervisorPID, out.InitPID = r.SupervisorPID, r.InitPID
	}
	if r.Network != nil {
		for _, p := range r.Network.Addresses {
			out.Addresses = append(out.Addresses, p.Addr())
		}
	}
	return out
}

// listLocked are the instance's containers, the oldest first.
func (i *instance) listLocked() []*container {
	out := make([]*container, 0, len(i.containers))
	for _, c := range i.containers {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *container) int { return a.rec.CreatedAt.Compare(b.rec.CreatedAt) })
	return out
}

func (i *instance) recordPath() string  { return filepath.Join(i.dir, "instance.json") }
func (c *container) recordPath() string { return filepath.Join(c.dir, "container.json") }
func (c *container) exitPath() string   { return filepath.Join(c.dir, "exit.json") }
