package runtime

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/cdi"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/program"
)

// planned is a container's plan, ready to be carried out.
type planned struct {
	program   program.Program
	text      json.RawMessage // the program, encoded
	resources *specs.LinuxResources
	spec      *specs.Spec // what the program was made of
}

// plan joins what a container, its instance, its image and the node's plugins say.
func (v *view) plan(c *container, rec *containerRecord) (*planned, error) {
	in, extra, err := v.join(c, rec)
	if err != nil {
		return nil, err
	}
	planned, err := lower(in, extra, rec.CDI, rec.Adjust)
	if err == nil && planned.program.Hooks != nil && c.inst.rec.Spec.Namespaces.User != nil {
		err = errorf(ErrInvalid, "the container's named devices or plugins bring hooks, which can't be run for a pod with a user namespace of its own: %v", rec.Spec.CDI)
	}
	if err != nil {
		return nil, err
	}
	return planned, v.delegate(c, &rec.Spec, planned)
}

func (v *view) join(c *container, rec *containerRecord) (plan.Input, plan.Extra, error) {
	i := c.inst
	i.mu.Lock()
	inst := i.rec
	i.mu.Unlock()
	host := programCgroup(v.cfg.Cgroups.Load(filepath.Join(inst.Cgroup, c.id)).Handle())
	spec := withDevices(*adjusted(rec), rec.CDI)
	in, extra, err := v.inputs(&spec, &rec.Image, surroundings{
		spec: &inst.Spec, run: i.run, cgroup: host, unified: v.cfg.Cgroups.Version() == 2,
	})
	if err != nil {
		return in, extra, err
	}
	extra.Unprivileged = v.cfg.Unprivileged != nil
	in.CgroupPath = filepath.Join(inst.Cgroup, c.id)
	in.Volumes = rec.Volumes
	labels := rec.labels()
	in.ProcessLabel, in.MountLabel = labels.Process, labels.Mount
	extra.Root.Extents = labelled(extra.Root.Extents, labels.Image)
	extra.Images = rec.extents()
	for ref, extents := range extra.Images {
		extra.Images[ref] = labelled(extents, labels.Image)
	}
	if rec.Upper != "" {
		extra.Root.Upper, extra.Root.Work, extra.Root.Volatile = rec.Upper, filepath.Join(c.dir, "work"), true
	}
	if extra.Restore, err = v.restoring(rec.Restore); err != nil {
		return in, extra, err
	}
	extra.Bundle = c.bundle()
	extra.State, err = hookState(c.id, extra.Bundle, rec.Spec.Metadata.Annotations)
	return in, extra, err
}

func lower(in plan.Input, extra plan.Extra, edits *cdi.Edits, adjust *plan.Adjustment) (*planned, error) {
	spec, err := plan.Container(in)
	if err != nil {
		return nil, err
	}
	if err := cdi.Apply(edits, spec); err != nil {
		return nil, as(ErrInvalid, err)
	}
	if err := plan.Adjust(spec, adjust); err != nil {
		return nil, adjust.Blame(err)
	}
	if adjust != nil && adjust.Seccomp != nil {
		filter, err := compiled(adjust.Seccomp)
		if err != nil {
			return nil, err
		}
		extra.Filter = filter.code
	}
	p, err := plan.Program(spec, extra)
	if err != nil {
		return nil, adjust.Blame(err)
	}
	text, err := encode(p)
	if err != nil {
		return nil, err
	}
	return &planned{program: p, text: text, resources: spec.Linux.Resources, spec: spec}, nil
}

// surroundings are what a container finds.
type surroundings struct {
	spec    *InstanceSpec
	run     string
	cgroup  program.Cgroup
	unified bool // cgroup v2
}

func (v *view) inputs(spec *ContainerSpec, image *resolvedImage, s surroundings) (plan.Input, plan.Extra, error) {
	security := plan.Security(spec.Security)
	in := plan.Input{
		Image: image.plan(),
		Process: plan.Process{
			Command: spec.Command, Args: spec.Args, Env: spec.Env, Cwd: spec.Cwd, Terminal: spec.Terminal,
			OOMScoreAdj: spec.OOMScoreAdj, Rlimits: spec.Rlimits, Umask: spec.Umask,
		},
		Security: security, NoDefaultMounts: spec.NoDefaultMounts,
		Devices: spec.Devices, Resources: spec.Resources,
		Namespaces: namespacesOf(spec, s),
	}
	if s.spec != nil {
		in.Process.Hostname = s.spec.Hostname
		in.BindSys = s.spec.Namespaces.User != nil && s.spec.Namespaces.Network == ModeHost
	}
	if s.run != "" && !spec.NoDefaultMounts {
		in.Etc = plan.Etc{
			Hosts: filepath.Join(s.run, hostsFile), Hostname: filepath.Join(s.run, hostnameFile),
			Resolv: filepath.Join(s.run, resolvFile),
		}
	}
	for _, m := range spec.Mounts {
		in.Mounts = append(in.Mounts, plan.Mount(m))
	}
	if security.Privileged && !security.NoHostDev {
		in.Node.Devices = hostDevices()
	}
	extra := plan.Extra{
		Root: rootOf(spec, image), Cgroup: s.cgroup, Target: spec.PIDTarget, PID: pidMode(spec, s.spec),
		Files: spec.Files, Accounts: spec.Accounts, User: plan.User(in.Image, security.User),
		CwdFallback: spec.CwdFallback, CreateCwd: spec.CwdFallback == nil, AllCaps: security.AllCaps && len(security.DropCaps) == 0,
		ActionPath: v.cfg.ActionBinary,
	}
	filter, err := v.filters.filter(security)
	if err != nil {
		return in, extra, err
	}
	in.Seccomp, extra.Filter = filter.profile, filter.code
	extra.Action, err = startAction(spec, image, in.Process)
	if extra.Action == nil {
		extra.ActionPath = ""
	}
	return in, extra, err
}

func namespacesOf(spec *ContainerSpec, s surroundings) []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	mapped := s.spec != nil && s.spec.Namespaces.User != nil // it can mount no other cgroups
	if s.unified && spec.CgroupNamespace {
		return append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	if s.unified && (!spec.Security.Privileged || mapped) && !spec.NoDefaultMounts {
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return out
}

func rootOf(spec *ContainerSpec, image *resolvedImage) program.Root {
	root := program.Root{Extents: append(slices.Clip(image.Extents), spec.Layers...)}
	switch spec.Upper {
	case UpperNone:
		root.Readonly = true
	case UpperDir:
		root.Upper, root.Work = filepath.Join(spec.Overlay, "upper"), filepath.Join(spec.Overlay, "work")
	case UpperImage:
		root.Image = spec.OverlayImage
		// One that is in the image itself is a layer of it otherwise.
		root.Extents = slices.DeleteFunc(slices.Clone(root.Extents), func(e program.Extent) bool {
			return root.Image != nil && e.Path == root.Image.Path && e.Offset == root.Image.Offset
		})
	case UpperSelf:
		root = program.Root{Direct: true}
		if len(image.Extents) > 0 {
			root.Dir = image.Extents[0].Path
		}
	case UpperDisk, UpperTmpfs:
	}
	return root
}

func pidMode(spec *ContainerSpec, instance *InstanceSpec) program.PIDMode {
	mode := spec.PID
	if mode == ModeInstance && instance != nil {
		mode = instance.Namespaces.PID
	}
	switch mode {
	case ModeContainer:
		return program.PIDContainer
	case ModeHost:
		return program.PIDHost
	case ModeTarget:
		return program.PIDTarget
	case ModeInstance, ModeShared:
	}
	return program.PIDShared
}

// startAction is what siflet-action is asked to do in an image that keeps
// Singularity's contract.
func startAction(spec *ContainerSpec, image *resolvedImage, p plan.Process) ([]byte, error) {
	if spec.Action != nil {
		return spec.Action, nil
	}
	if !image.Native {
		return nil, nil
	}
	r := action.Request{Command: action.Pod, Args: spec.Args}
	if len(spec.Command) > 0 {
		r.Command, r.Args = action.Exec, append(append([]string{}, spec.Command...), spec.Args...)
	}
	return encodeAction(r, image, p)
}

func encodeAction(r action.Request, image *resolvedImage, p plan.Process) ([]byte, error) {
	where := image.Path
	if where == "" && len(image.References) > 0 {
		where = image.References[0]
	}
	name := filepath.Base(where)
	for _, prefix := range []string{"SINGULARITY_", "APPTAINER_", "SIFLET_"} {
		r.Defaults = append(r.Defaults, prefix+"CONTAINER="+where, prefix+"NAME="+name)
	}
	// What siflet itself says, the image may change; what the caller says, not.
	r.Host = plan.Env(plan.Image{}, plan.Process{Hostname: p.Hostname, Terminal: p.Terminal})
	for _, entry := range plan.JoinEnv(p.Env) {
		if k, val, ok := cut(entry); ok {
			r.Set = append(r.Set, action.Var{Name: k, Value: val, NoEval: true})
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode action: %w", err)
	}
	return text, nil
}
