package nri

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
)

// Active says that a plugin is connected.
func (r *Relay) Active() bool { return r.plugins.Load() > 0 }

// begin takes the turn, and keeps plugins that are connecting out until the
// function that it returns is called: they know of all that was told before, and
// hear of all that is told afterwards.
func (r *Relay) begin(ctx context.Context) (end func(), err error) {
	block := r.nri.BlockPluginSync()
	select {
	case r.turn <- struct{}{}:
		r.last.forget()
		return func() {
			<-r.turn
			block.Unblock()
		}, nil
	case <-ctx.Done():
		block.Unblock()
		return nil, ctx.Err()
	}
}

// Create asks for changes of a new container.
func (r *Relay) Create(ctx context.Context, s *runtime.Subject) (*runtime.Adjustment, error) {
	end, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	// From here on it is known, so that it is told that it goes if it is refused.
	r.known[s.ContainerID] = &life{subject: s}
	if !r.Active() {
		return nil, nil //nolint:nilnil // no change is no error
	}
	pod, c, err := described(s)
	if err != nil {
		return nil, err
	}
	env := c.GetEnv()
	answer, err := r.nri.CreateContainer(ctx, &adaptation.CreateContainerRequest{Pod: pod, Container: c})
	if err != nil {
		return nil, r.last.refusal(err)
	}
	r.apply(answer.GetUpdate())
	a, err := adjustment(answer.GetAdjust())
	if err != nil {
		return nil, fmt.Errorf("what the NRI plugin %s wants: %w", r.last.wanted(), err)
	}
	if a != nil {
		a.By = r.last.wanted()
		a.Unset = append(a.Unset, goneFrom(env, c.GetEnv())...)
	}
	return a, nil
}

// goneFrom are the variables that plugins have taken out of what they were shown.
// The library's answer lacks them.
func goneFrom(before, after []string) (names []string) {
	for _, entry := range before {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(after, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			names = append(names, name)
		}
	}
	return names
}

// Update asks for the limits that a container gets instead of limits.
func (r *Relay) Update(ctx context.Context, s *runtime.Subject, limits *specs.LinuxResources) (*specs.LinuxResources, error) {
	end, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if !r.Active() {
		return limits, nil
	}
	pod, c, err := described(s)
	if err != nil {
		return nil, err
	}
	answer, err := r.nri.UpdateContainer(ctx, &adaptation.UpdateContainerRequest{
		Pod: pod, Container: c, LinuxResources: api.FromOCILinuxResources(limits, nil),
	})
	if err != nil {
		return nil, r.last.refusal(err)
	}
	// The container's own comes last, whether it was changed or not.
	var others []*api.ContainerUpdate
	for _, u := range answer.GetUpdate() {
		if u.GetContainerId() != s.ContainerID {
			others = append(others, u)
			continue
		}
		if limits, err = resources(u.GetLinux().GetResources()); err != nil {
			return nil, fmt.Errorf("what the NRI plugin %s wants: %w", r.last.wanted(), err)
		}
	}
	r.apply(others)
	return limits, nil
}

// Resize says what an instance's own limits will be.
func (r *Relay) Resize(ctx context.Context, s *runtime.Subject, l runtime.PodLimits) error {
	end, err := r.begin(ctx)
	if err != nil || !r.Active() {
		if err == nil {
			end()
		}
		return err
	}
	defer end()
	pod, _, err := described(s)
	if err != nil {
		return err
	}
	_, err = r.nri.UpdatePodSandbox(ctx, &adaptation.UpdatePodSandboxRequest{
		Pod: pod, OverheadLinuxResources: api.FromOCILinuxResources(l.Overhead, nil), LinuxResources: api.FromOCILinuxResources(l.Resources, nil),
	})
	return r.last.refusal(err)
}

// Tell tells of a step, once and in order. What has happened already is told even if
// whoever made it happen has gone: each plugin has the time of a request.
func (r *Relay) Tell(ctx context.Context, step runtime.Step, s *runtime.Subject) error {
	if step != runtime.StepRun && step != runtime.StepStart {
		ctx = context.WithoutCancel(ctx)
	}
	end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	known := r.known[name(s)]
	if step == runtime.StepRun {
		known = &life{subject: s}
		r.known[s.InstanceID] = known
	}
	if known == nil {
		return nil // it was never told that there is one
	}
	var errs error
	switch {
	case step == runtime.StepCreated:
		known.subject = s
	case step == runtime.StepEnded && known.told == runtime.StepStart:
		known.ended = true // the start is about to be told
		return nil
	case step == runtime.StepEnded:
		step = runtime.StepStopped
	}
	if step == runtime.StepRemoved && known.told != runtime.StepStopped || step == runtime.StepRemove && known.told != runtime.StepStop {
		errs = r.relay(ctx, lastBut(step), known)
	}
	if (step == runtime.StepStopped || step == runtime.StepStop) && known.told == step {
		return nil
	}
	errs = errors.Join(errs, r.relay(ctx, step, known))
	switch {
	case step == runtime.StepRemoved || step == runtime.StepRemove:
		delete(r.known, name(s))
	case step == runtime.StepStarted && known.ended:
		errs = errors.Join(errs, r.relay(ctx, runtime.StepStopped, known))
	}
	return errs
}

func lastBut(step runtime.Step) runtime.Step {
	if step == runtime.StepRemove {
		return runtime.StepStop
	}
	return runtime.StepStopped
}

// relay hands a step to the plugins. The caller has the turn.
func (r *Relay) relay(ctx context.Context, step runtime.Step, of *life) error {
	if step != runtime.StepUpdated && step != runtime.StepResized {
		of.told = step
	}
	if !r.Active() {
		return nil
	}
	pod, c, err := described(of.subject)
	if err != nil && pod == nil {
		return err
	}
	switch step {
	case runtime.StepRun:
		err = r.nri.RunPodSandbox(ctx, &adaptation.RunPodSandboxRequest{Pod: pod})
	case runtime.StepResized:
		err = r.nri.PostUpdatePodSandbox(ctx, &adaptation.PostUpdatePodSandboxRequest{Pod: pod})
	case runtime.StepStop:
		err = r.nri.StopPodSandbox(ctx, &adaptation.StopPodSandboxRequest{Pod: pod})
	case runtime.StepRemove:
		err = r.nri.RemovePodSandbox(ctx, &adaptation.RemovePodSandboxRequest{Pod: pod})
	case runtime.StepCreated:
		err = r.nri.PostCreateContainer(ctx, &adaptation.PostCreateContainerRequest{Pod: pod, Container: c})
	case runtime.StepStart:
		err = r.nri.StartContainer(ctx, &adaptation.StartContainerRequest{Pod: pod, Container: c})
	case runtime.StepStarted:
		err = r.nri.PostStartContainer(ctx, &adaptation.PostStartContainerRequest{Pod: pod, Container: c})
	case runtime.StepUpdated:
		err = r.nri.PostUpdateContainer(ctx, &adaptation.PostUpdateContainerRequest{Pod: pod, Container: c})
	case runtime.StepStopped, runtime.StepEnded: // the latter has become the former
		err = r.stopped(ctx, pod, c)
	case runtime.StepRemoved:
		err = r.nri.RemoveContainer(ctx, &adaptation.RemoveContainerRequest{Pod: pod, Container: c})
	}
	return r.last.refusal(err)
}

func (r *Relay) stopped(ctx context.Context, pod *api.PodSandbox, c *api.Container) error {
	answer, err := r.nri.StopContainer(ctx, &adaptation.StopContainerRequest{Pod: pod, Container: c})
	if err == nil {
		r.apply(answer.GetUpdate())
	}
	return err
}
