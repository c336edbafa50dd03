package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// OnceConfig is what RunOnce works with.
type OnceConfig struct {
	InstanceBinary, ActionBinary string
	// Image is the container's, whatever its spec calls it.
	Image image.Image
	// Trust is asked whether the image may run; nil lets every image run.
	Trust Trust
	// Stdio of the process; nil is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// Signals are passed on to the process. It may be nil. Started, if not nil, is called
	// when they begin to be: until then the end of ctx is what ends a start. Forked, if not
	// nil, is called when there is a process: runs tells whether it is the program's by now.
	Signals <-chan os.Signal
	Started func()
	Forked  func(runs func() bool)
	// NoInit makes the process PID 1 of its PID namespace, where it gets no signal
	// that it has no handler for. Otherwise sinit is.
	NoInit bool
	// Hostname is set in a UTS namespace of the container's own.
	Hostname string
	// Cgroups, when not nil, holds the container's limits: in a group of its
	// own in CgroupParent, which is made.
	Cgroups      *cgroups.Manager
	CgroupParent string
	// Network attaches a network namespace of the container's own; nil leaves
	// it with loopback. Dir is a directory that remembers what a run that is killed
	// leaves behind; the next run takes it away. It is needed with Cgroups or Network.
	Network        *network.Network
	BuiltInNetwork bool
	Ports          []Port
	// UserNetwork attaches it without privileges. NetworkLost, if not nil, is told when that
	// network ends before the run, and why.
	UserNetwork bool
	NetworkLost func(why string)
	DNS         *DNS
	Dir         string
	// CDIDirs are as in Config.
	CDIDirs []string
	// Unprivileged is how to do without root's privileges; nil is with them.
	Unprivileged *Unprivileged
	// Feign, if not nil, answers the container's processes.
	Feign *linux.Feigning
}

// once is one run.
type once struct {
	cfg    OnceConfig
	image  resolvedImage
	id     string
	spaces Namespaces
	group  *cgroups.Group
	join   program.Cgroup
	net    *network.Request
	res    network.Result
	init   *onceInit
	hook   *hookRun
	own    *linux.OwnNamespaces
	keeper *supervisor.Keeper
	kept   chan struct{} // closed when nobody listens to it any more
	served []*supervisor.FUSEServer
	ready  []readyServer
	locks  []linux.FD // see program.LockMark
	owner  *os.File   // locked as long as the run goes on

	unpacked *Unpacked
}

// RunOnce runs one container as a child of the calling process, with no
// supervisor and no record, and returns how it ended. Namespaces of ModeInstance
// are the container's own. When
// ctx ends the process is killed, as it is when the calling process dies. A
// process that never ran is an error. Nothing is left behind.
func RunOnce(ctx context.Context, cfg OnceConfig, spec ContainerSpec, spaces Namespaces) (supervisor.Exit, error) {
	o := &once{cfg: cfg, image: resolved(cfg.Image), id: newID(), spaces: spaces}
	type result struct {
		exit supervisor.Exit
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread enters namespaces, and its end would kill the child: it is
		// never unlocked, so it ends with the goroutine.
		goruntime.LockOSThread()
		exit, err := o.run(ctx, &spec)
		done <- result{exit, err}
	}()
	r := <-done
	r.err = blameLimit(o.cfg.Cgroups, r.err, "the command", filepath.Join("/", o.cfg.CgroupParent, "siflet-"+o.id))
	undo, cancel := detached(ctx)
	defer cancel()
	if o.own != nil {
		_ = o.own.Close() // a process of ours that waits
	}
	if o.unpacked != nil { // that process had its lock too
		_ = o.unpacked.Release(true) // what could not be removed is by the next
	}
	if err := o.undo(undo); err != nil && r.err == nil {
		r.err = err
	}
	return r.exit, r.err
}

func (o *once) run(ctx context.Context, spec *ContainerSpec) (supervisor.Exit, error) {
	if err := permit(ctx, o.cfg.Trust, &o.image, ""); err != nil {
		return supervisor.Exit{}, err
	}
	if o.cfg.Unprivileged == nil {
		defer o.warmUp(spec)()
	} else if o.cfg.Unprivileged.Unpack == nil {
		o.readyServers(spec)
		defer o.dropReady()
	}
	if err := checkSources(spec.Mounts); err != nil {
		return supervisor.Exit{}, err
	}
	planned, err := o.plan(spec)
	if err != nil {
		return supervisor.Exit{}, err
	}
	if o.unpacked, err = o.cfg.Unprivileged.unpack(ctx, planned); err != nil {
		return supervisor.Exit{}, err
	}
	if err := o.claim(ctx); err != nil {
		return supervisor.Exit{}, err
	}
	if err := o.makeGroup(planned); err != nil {
		return supervisor.Exit{}, err
	}
	if err := o.enter(ctx); err != nil {
		return supervisor.Exit{}, err
	}
	end, err := o.cfg.Feign.Begin()
	if err != nil {
		return supervisor.Exit{}, err
	}
	defer end()
	return o.launch(ctx, planned)
}

// warmUp begins to mount and read what the process will need, on a thread of its
// own, so that it is there when the launch stage asks. The function it returns
// lets go of the mounts.
func (o *once) warmUp(spec *ContainerSpec) (cool func()) {
	command := ""
	if len(spec.Command) > 0 {
		command = spec.Command[0]
	}
	held := make(chan []*os.File, 1)
	extents := o.image.Extents
	locks := lockLayers(extents)
	go func() {
		// What can't be mounted is for the launch stage to tell.
		mounts, _ := holdImage(extents, false)
		preread(mounts, command)
		held <- append(mounts, locks...)
	}()
	return func() {
		for _, mount := range <-held {
			_ = mount.Close() // opened to be held only
		}
	}
}

func (o *once) plan(spec *ContainerSpec) (*planned, error) {
	v := &view{cfg: Config{ActionBinary: o.cfg.ActionBinary}}
	if o.cfg.Cgroups != nil {
		path := filepath.Join("/", o.cfg.CgroupParent, "siflet-"+o.id)
		o.join = programCgroup(o.cfg.Cgroups.Load(path).Handle())
	}
	edits, err := namedDevices(o.cfg.CDIDirs, spec.CDI)
	if err != nil {
		return nil, err
	}
	edited := withDevices(*spec, edits)
	in, extra, err := v.inputs(&edited, &o.image, surroundings{cgroup: o.join})
	if err != nil {
		return nil, err
	}
	extra.PID = program.PIDContainer
	if o.spaces.PID == ModeHost {
		extra.PID = program.PIDHost
	}
	extra.Unprivileged = o.cfg.Unprivileged != nil
	if extra.Unprivileged && !o.cfg.Unprivileged.Inside {
		extra.Loopback = o.spaces.Network != ModeHost
		if o.spaces.UTS != ModeHost {
			extra.Hostname = o.cfg.Hostname
		}
	}
	extra.Bundle = o.bundle()
	if extra.State, err = hookState(o.id, extra.Bundle, nil); err != nil {
		return nil, err
	}
	return lower(in, extra, edits, nil)
}

// enter puts the thread where the child is to be born.
func (o *once) enter(ctx context.Context) error {
	flags := cloneFlags(o.spaces)
	if u := o.cfg.Unprivileged; u != nil && !u.Inside {
		var err error
		if o.own, err = u.Own(ctx, flags); err != nil {
			return err
		}
		return o.attachUser(ctx)
	}
	if flags == 0 {
		return nil
	}
	if err := linux.Unshare(flags); err != nil {
		return err
	}
	if o.spaces.UTS != ModeHost && o.cfg.Hostname != "" {
		if err := linux.SetHostname(o.cfg.Hostname); err != nil {
			return err
		}
	}
	if o.spaces.Network == ModeHost {
		return nil
	}
	if err := linux.LoopbackUp(); err != nil {
		return err
	}
	if o.cfg.Network == nil {
		return nil
	}
	thread := linux.ThreadID()
	done := make(chan error, 1)
	go func() { done <- o.attach(ctx, thread) }() // from the host's side
	return <-done
}

// launch forks the stage and sees it through.
func (o *once) launch(ctx context.Context, p *planned) (supervisor.Exit, error) {
	binary, err := o.cfg.Unprivileged.openBinary(o.cfg.InstanceBinary)
	if err != nil {
		return supervisor.Exit{}, fmt.Errorf("open siflet-instance: %w", err)
	}
	defer binary.Close() //nolint:errcheck // opened to be executed only
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return supervisor.Exit{}, err
	}
	report := os.NewFile(uintptr(ours), "report")
	defer report.Close() //nolint:errcheck // read only
	exe := linux.FD(binary.Fd())
	end, err := o.startInit(exe, p)
	if err != nil {
		return supervisor.Exit{}, errors.Join(err, theirs.Close())
	}
	defer end()
	hooks, wait, err := o.hooks(ctx, p)
	if err != nil {
		return supervisor.Exit{}, errors.Join(err, theirs.Close())
	}
	child, err := o.fork(exe, theirs, hooks, p)
	if err = errors.Join(err, theirs.Close(), hooks.Close()); err != nil {
		return supervisor.Exit{}, err
	}
	defer child.Close() //nolint:errcheck // a pidfd
	stop := context.AfterFunc(ctx, func() { _ = child.Kill() })
	defer stop()
	defer o.unlock()
	if o.cfg.Forked != nil {
		o.cfg.Forked(func() bool { return isClosed(report) })
	}
	// EOF is the exec, or the end.
	text, rerr := o.readReport(ours, child)
	cause := wait()
	finished := make(chan struct{})
	defer close(finished)
	o.passSignals(child, finished)
	if cause == nil && len(text) == 0 {
		if cause = o.afterStart(ctx, child.PID); cause != nil {
			_ = child.Kill() // it may have ended
		}
	}
	died := o.diedEarly(child)
	code, signal, err := child.Wait()
	o.afterEnd(ctx)
	if err = errors.Join(cause, err, o.settleServers(ctx)); err != nil {
		return supervisor.Exit{}, err
	}
	if len(text) > 0 {
		return supervisor.Exit{}, reported(text)
	}
	if ctx.Err() != nil {
		return supervisor.Exit{}, ctx.Err()
	}
	if rerr != nil {
		return supervisor.Exit{}, fmt.Errorf("read the stage's report: %w", rerr)
	}
	if err := earlyEnd(died, code, signal); err != nil {
		return supervisor.Exit{}, err
	}
	return supervisor.Exit{Version: supervisor.ProtocolVersion, Code: code, Signal: signal, At: time.Now()}, nil
}

// reported is the failure that a stage tells.
func reported(text []byte) error {
	failure := new(program.Failure)
	if err := json.Unmarshal(text, failure); err != nil {
		return fmt.Errorf("read the stage's report: %w", err)
	}
	return failure
}
