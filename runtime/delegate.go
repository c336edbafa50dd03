package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// defaultPatience is how long a delegated runtime may take for a call.
const defaultPatience = time.Minute

// delegates says that another runtime runs the containers.
func (h *Handler) delegates() bool { return h != nil && h.Runtime != "" }

func (h *Handler) patience() time.Duration {
	if h.RuntimeTimeout > 0 {
		return h.RuntimeTimeout
	}
	return defaultPatience
}

// delegateDir is where files about a container and its delegated runtime are.
func (c *container) delegateDir() string { return filepath.Join(c.inst.run, "oci", c.id) }

// delegateRoot is where the runtime keeps its state of all containers of an instance.
func (i *instance) delegateRoot() string { return filepath.Join(i.run, "oci", "state") }

// delegate makes p a program that has the handler's runtime run the container, if
// it has one.
func (v *view) delegate(c *container, spec *ContainerSpec, p *planned) error {
	c.inst.mu.Lock()
	inst := c.inst.rec
	c.inst.mu.Unlock()
	h := inst.Spec.Settings
	if !h.delegates() {
		return nil
	}
	if err := refuseDelegated(spec, &inst.Spec, h); err != nil {
		return err
	}
	if p.program.Restore != nil {
		return errorf(ErrUnsupported, "a checkpoint can't be restored by the handler's runtime %s, only by siflet's own", h.Runtime)
	}
	d := newDelegate(c, h)
	config := *p.spec
	config.Version = "1.0.2"
	config.Hostname = "" // the instance's has it
	config.Root = &specs.Root{Path: d.Bundle() + "/rootfs", Readonly: p.program.Root.Readonly}
	config.Mounts = delegatedMounts(p.spec.Mounts, &p.program, d)
	config.Annotations = h.passed(inst.Spec.Metadata.Annotations, spec.Metadata.Annotations)
	if config.Hooks != nil {
		// crun's way of keeping what hooks say; others have it in their errors.
		for _, stream := range []string{"stdout", "stderr"} {
			config.Annotations["run.oci.hooks."+stream] = d.Dir + "/" + program.HookOutput
		}
	}
	l := *p.spec.Linux
	var err error
	if l.Namespaces, err = v.delegatedNamespaces(&inst, &p.program, l.Namespaces); err != nil {
		return err
	}
	config.Linux = &l
	if config.Process, err = delegatedProcess(p.spec.Process, &p.program, d); err != nil {
		return err
	}
	text, err := json.Marshal(&config)
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	d.Config = withUser(string(text), config.Process.User, d.Mark)
	// The runtime makes devices and namespaces, and runs hooks.
	p.program.Version, p.program.Delegate = max(p.program.Version, program.VersionDelegate), d
	p.program.Devices, p.program.Hooks = nil, nil
	plain := *p.spec
	plain.Hooks = nil
	p.spec = &plain
	if group := &p.program.Cgroup; group.Dir != "" && !isUnified(*group) {
		d.Hide = strings.TrimSuffix(group.Dir, config.Linux.CgroupsPath)
	}
	p.program.Namespaces = program.Namespaces{PID: program.PIDHost}
	p.text, err = encode(p.program)
	return err
}

func newDelegate(c *container, h *Handler) *program.Delegate {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	mark := "siflet-" + hex.EncodeToString(b[:])
	return &program.Delegate{
		Runtime: h.Runtime, Root: c.inst.delegateRoot(), ID: c.id, Dir: c.delegateDir(),
		Args: h.RuntimeArgs, Mark: mark, Patience: int64(h.patience()),
	}
}

// withUser puts a mark in the place of the user in a text that holds it once.
func withUser(text string, user specs.User, mark string) string {
	old, _ := json.Marshal(user)
	return strings.Replace(text, `"user":`+string(old), `"user":"`+mark+`-user"`, 1)
}

// delegatedProcess is a process with what the launch stage is to fill in, and without
// capabilities that nobody here has to give.
func delegatedProcess(in *specs.Process, p *program.Program, d *program.Delegate) (*specs.Process, error) {
	out := *in
	out.Args = []string{d.Mark + "-args"}
	out.Env = append([]string{d.Mark + "-request"}, in.Env...)
	if p.Process.HomeFromPasswd {
		out.Env = append(out.Env, "HOME="+d.Mark+"-home")
	}
	permitted, err := linux.PermittedCaps()
	if err != nil {
		return nil, err
	}
	have := permitted.Names()
	if in.Capabilities != nil {
		caps := *in.Capabilities
		for _, set := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted, &caps.Inheritable, &caps.Ambient} {
			*set = slices.DeleteFunc(slices.Clone(*set), func(name string) bool { return !slices.Contains(have, name) })
		}
		out.Capabilities = &caps
	}
	return &out, nil
}

// delegatedMounts are the runtime's to make: file systems of the kernel, and binds of
// what the launch stage has mounted in the bundle.
func delegatedMounts(list []specs.Mount, p *program.Program, d *program.Delegate) (out []specs.Mount) {
	for i, m := range list {
		switch p.Mounts[i].Type {
		case "volume":
			continue // in the root already
		case "bind", "shm":
			kept := []string{"rbind"}
			for _, option := range m.Options {
				switch option {
				case "rro":
					kept = append(kept, "ro") // those below are
				case "ro", "nosuid", "nodev", "noexec", "rslave", "rshared", "rprivate":
					kept = append(kept, option)
				}
			}
			m.Type, m.Source, m.Options = "bind", d.Bundle()+"/m"+strconv.Itoa(i), kept
		}
		out = append(out, m)
	}
	if p.Process.ActionPath != "" {
		out = append(out, specs.Mount{
			Type: "bind", Source: p.Process.ActionPath, Destination: program.ActionTarget, Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev"},
		}, specs.Mount{
			Type: "bind", Source: d.Bundle() + "/" + program.ReportFile, Destination: program.ReportTarget, Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	return out
}

// delegatedNamespaces are the instance's, by path, and new ones of the container's own.
func (v *view) delegatedNamespaces(inst *instanceRecord, p *program.Program, own []specs.LinuxNamespace) ([]specs.LinuxNamespace, error) {
	out := slices.Clone(own)
	of := func(kind specs.LinuxNamespaceType, name string, pid int) {
		out = append(out, specs.LinuxNamespace{Type: kind, Path: "/proc/" + strconv.Itoa(pid) + "/ns/" + name})
	}
	ns := inst.Spec.Namespaces
	if ns.Network != ModeHost {
		of(specs.NetworkNamespace, "net", inst.SupervisorPID)
	}
	if ns.IPC != ModeHost {
		of(specs.IPCNamespace, "ipc", inst.SupervisorPID)
	}
	if ns.UTS != ModeHost {
		of(specs.UTSNamespace, "uts", inst.SupervisorPID)
	}
	switch p.Namespaces.PID {
	case program.PIDContainer:
		out = append(out, specs.LinuxNamespace{Type: specs.PIDNamespace})
	case program.PIDShared:
		if inst.InitPID == 0 {
			return nil, errorf(ErrInvalid, "the instance has no PID namespace of its own that its containers could share")
		}
		of(specs.PIDNamespace, "pid", inst.InitPID)
	case program.PIDTarget:
		target, err := v.container(p.Namespaces.Target)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(filepath.Join(target.delegateDir(), "pid"))
		pid, perr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || perr != nil {
			return nil, errorf(ErrNotReady, "target container %s is not running", p.Namespaces.Target)
		}
		of(specs.PIDNamespace, "pid", pid)
	case program.PIDHost:
	}
	return out, nil
}

// passed are the annotations that the handler's runtime is to see.
func (h *Handler) passed(lists ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, list := range lists {
		for key, value := range list {
			if slices.ContainsFunc(h.Annotations, func(pattern string) bool {
				ok, _ := path.Match(pattern, key)
				return ok
			}) {
				out[key] = value
			}
		}
	}
	return out
}

// delegateExec makes p a program that has the handler's runtime run a further process.
func delegateExec(c *container, h *Handler, p *planned) error {
	d := newDelegate(c, h)
	process, err := delegatedProcess(p.spec.Process, &p.program, d)
	if err != nil {
		return err
	}
	text, err := json.Marshal(process)
	if err != nil {
		return fmt.Errorf("encode process: %w", err)
	}
	d.Config = withUser(string(text), process.User, d.Mark)
	if isUnified(p.program.Cgroup) {
		p.program.Cgroup.Dir = ""
	}
	p.program.Version, p.program.Delegate, p.program.Cgroup.Join = program.VersionDelegate, d, nil
	p.text, err = encode(p.program)
	return err
}

// prepareDelegate makes the directories that a delegated runtime needs.
func (c *container) prepareDelegate() error {
	const private = 0o700
	return errors.Join(os.MkdirAll(filepath.Join(c.delegateDir(), "bundle"), private), os.MkdirAll(c.inst.delegateRoot(), private))
}

// endDelegate has the runtime take away what it keeps of a container, running or not.
// If it does not work the rest of the cleanup does it, as far as Linux knows of the
// container.
func (e *Engine) endDelegate(ctx context.Context, c *container) {
	h := c.inst.rec.Spec.Settings
	if !h.delegates() {
		return
	}
	if _, err := os.Stat(c.delegateDir()); errors.Is(err, fs.ErrNotExist) {
		return
	}
	work, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	args := slices.Concat(h.RuntimeArgs, []string{"--root", c.inst.delegateRoot(), "delete", "--force", c.id})
	cmd := exec.CommandContext(work, h.Runtime, args...) //nolint:gosec // the operator named it
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = linux.OwnSession()
	cmd.Cancel = func() error { linux.KillSession(cmd.Process.Pid); return nil }
	if out, err := cmd.CombinedOutput(); err != nil {
		e.cfg.Log.Warn("the handler's runtime did not take a container away; siflet does", "runtime", h.Runtime, "container", c.id,
			"error", err, "output", strings.TrimSpace(string(out[:min(len(out), 1000)])))
	}
	err := errors.Join(os.RemoveAll(c.delegateDir()), os.RemoveAll(filepath.Join(c.inst.delegateRoot(), c.id)))
	if err != nil {
		e.cfg.Log.Warn("files of a container are still there", "container", c.id, "error", err)
	}
}
