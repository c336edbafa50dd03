package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// stragglers is how often to ask again to enter an instance whose first process
// ended meanwhile: for 255 ms, in which its supervisor must have noticed.
const stragglers = 8

// notRunning says whether a supervisor's answer is that the container has ended.
func notRunning(err error) bool {
	var failure *program.Failure
	return errors.As(err, &failure) && failure.Kind == "not_running"
}

// Size is that of a terminal.
type Size struct{ Rows, Cols uint16 }

// ExecFiles starts a further process in a running container, with the given
// files as its stdio; nil is /dev/null. With spec.Terminal the session has the
// terminal instead. Closing the session before its end kills the process with
// what it started.
func (v *view) ExecFiles(ctx context.Context, id string, spec ExecSpec, stdin, stdout, stderr *os.File) (*supervisor.Session, error) {
	c, client, err := v.running(id)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	if len(spec.Args) == 0 && spec.Action == nil {
		return nil, fmt.Errorf("exec: %w", errorf(ErrInvalid, "no command"))
	}
	request, err := v.execRequest(c, &spec)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", classify(err))
	}
	session, err := client.Exec(ctx, id, request, stdin, stdout, stderr)
	for try := 0; c.inst.rec.Spec.EndWithInit && notRunning(err) && try < stragglers; try++ {
		// Its first process, which was to show the way in, ended just now: there is another way.
		select {
		case <-time.After(time.Millisecond << try):
		case <-ctx.Done():
			return nil, fmt.Errorf("exec in container %s: %w", id, errors.Join(ctx.Err(), err))
		}
		session, err = client.Exec(ctx, id, request, stdin, stdout, stderr)
	}
	if err != nil {
		err = c.blameFilter(err, spec.Security)
		err = blameLimit(v.cfg.Cgroups, c.overtaken(err), "the command", c.cgroup(), c.inst.rec.Cgroup)
		return nil, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return session, nil
}

// running finds a container that runs, and whom to talk to about it.
func (v *view) running(id string) (*container, *supervisor.Client, error) {
	c, err := v.container(id)
	if err != nil {
		return nil, nil, err
	}
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	switch state := c.stateLocked(); {
	case legal(opExec, state), c.staysLocked():
	case state == ContainerExited && c.exit != nil:
		return nil, nil, errorf(ErrNotReady, "container %s has exited (%d)%s; it must be running", id, c.exit.Code, afterColon(c.exit.Message))
	default:
		return nil, nil, errorf(ErrNotReady, "container %s is %s, not running", id, state)
	}
	return c, c.inst.client, nil
}

// staysLocked says that commands can be run in a container whether its first process has
// ended or not: a person's instance goes on, mounts and all.
func (c *container) staysLocked() bool {
	return c.inst.rec.Spec.EndWithInit && c.inst.alive && !c.rec.StartedAt.IsZero()
}

// execRequest is the container's own process with other arguments.
func (v *view) execRequest(c *container, spec *ExecSpec) (supervisor.ExecRequest, error) {
	i := c.inst
	i.mu.Lock()
	devices := c.rec.CDI
	process := c.rec.labels().Process
	of, image, instance, adjust := withDevices(*adjusted(&c.rec), devices), c.rec.Image, i.rec.Spec, c.rec.Adjust.OfProcess()
	cgroup := programCgroup(v.cfg.Cgroups.Load(filepath.Join(i.rec.Cgroup, c.id)).Handle())
	i.mu.Unlock()
	of.Command, of.Args, of.Action = spec.Args, nil, actionWith(spec.Action, devices)
	if spec.NoContainerEnv {
		of.Env = nil
	}
	of.Env = plan.JoinEnv(of.Env, spec.Env)
	of.Terminal = spec.Terminal
	if spec.Cwd != "" {
		of.Cwd = spec.Cwd
	}
	if spec.Security != nil {
		of.Security = *spec.Security
	}
	// Mounts, devices and files are the container's already.
	of.Mounts, of.Devices, of.Files, of.Accounts, of.NoDefaultMounts = nil, nil, nil, nil, true
	privileged := of.Security.Privileged
	of.Security.Privileged = false // it would list the host's devices
	of.Security.AllCaps = of.Security.AllCaps || privileged
	if privileged {
		of.Security.MaskedPaths = []string{} // it has none
	}
	in, extra, err := v.inputs(&of, &image, surroundings{spec: &instance, cgroup: cgroup})
	if err != nil {
		return supervisor.ExecRequest{}, err
	}
	in.ProcessLabel = process
	if privileged {
		in.Seccomp, extra.Filter = nil, nil
	}
	extra.CreateCwd = false
	p, err := lower(in, extra, nil, adjust)
	if err != nil {
		return supervisor.ExecRequest{}, err
	}
	if instance.Settings.delegates() {
		if err := delegateExec(c, instance.Settings, p); err != nil {
			return supervisor.ExecRequest{}, err
		}
		cgroup = p.program.Cgroup
	}
	born := p.program.Delegate == nil
	if err := roomToStart(v.cfg.Cgroups, &p.program.Process, born, c.cgroup(), c.inst.rec.Cgroup); err != nil {
		return supervisor.ExecRequest{}, err
	}
	request := supervisor.ExecRequest{Program: p.text, Cgroup: cgroup, Terminal: spec.Terminal, Timeout: spec.Timeout, Keep: spec.Keep}
	if request.Enter = born; request.Enter {
		request.OOMScoreAdj = p.program.Process.OOMScoreAdj
		if len(p.program.Process.Action) > 0 {
			request.Action = p.program.Process.ActionPath
		}
	}
	return request, nil
}

// ReopenLog starts a new log file after the old one was moved away.
func (v *view) ReopenLog(ctx context.Context, id string) error {
	c, client, err := v.running(id)
	if err == nil {
		err = classify(c.overtaken(client.ReopenLog(ctx, c.id)))
	}
	if err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	return nil
}

// Resize sets the size of a container's terminal.
func (v *view) Resize(ctx context.Context, id string, size Size) error {
	c, client, err := v.running(id)
	if err == nil {
		err = classify(c.overtaken(client.Resize(ctx, c.id, size.Rows, size.Cols)))
	}
	if err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}

// Signal signals a running container's first process, or all of them.
func (v *view) Signal(ctx context.Context, id string, sig int, all bool) error {
	c, client, err := v.running(id)
	if err == nil {
		err = client.Signal(ctx, c.id, sig, all)
	}
	if err != nil {
		var failure *program.Failure
		if errors.As(err, &failure) && failure.Kind == "not_found" {
			err = as(ErrNotReady, err)
		}
		return fmt.Errorf("signal container: %w", err)
	}
	return nil
}
