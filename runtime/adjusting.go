package runtime

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/record"
)

// Adjustment is plan.Adjustment, for who may not import that package.
type Adjustment = plan.Adjustment

// adjusted is what a container was asked to be, with its limits as they are now
// and the process as the plugins want it: an image that starts itself is told.
func adjusted(rec *containerRecord) *ContainerSpec {
	spec := rec.Spec
	spec.Resources = rec.Resources
	if a := rec.Adjust; a != nil {
		spec.Env = plan.Changed(spec.Env, a)
		if len(a.Args) > 0 {
			spec.Command, spec.Args = a.Args, nil
		}
	}
	return &spec
}

// accept checks what plugins want of a container and makes it part of it.
func accept(rec *containerRecord, ns Namespaces, a *Adjustment) error {
	for name := range a.Sysctls {
		var mode Mode
		kind := plan.OwnSysctl(name)
		switch kind {
		case "network":
			mode = ns.Network
		case "IPC":
			mode = ns.IPC
		case "UTS":
			mode = ns.UTS
		default:
			return errorf(ErrInvalid, "sysctl %s belongs to the whole node, not to a namespace", name)
		}
		if mode == ModeHost {
			return errorf(ErrInvalid, "sysctl %s: the instance uses the node's %s namespace", name, kind)
		}
	}
	for _, m := range a.Mounts {
		if m.Type != "bind" && !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind") {
			continue
		}
		if _, err := os.Stat(m.Source); err != nil {
			return as(ErrInvalid, fmt.Errorf("mount %s: source: %w", m.Destination, err))
		}
	}
	rec.Adjust = a
	if a.Limits != nil {
		rec.Resources = addLimits(rec.Resources, a.Limits)
	}
	return nil
}

// addLimits is mergeResources that adds rules for devices to those there are. The last
// that fits counts: one that comes again moves to the end.
func addLimits(old, update *specs.LinuxResources) *specs.LinuxResources {
	merged := mergeResources(old, update)
	if old != nil && update != nil {
		merged.Devices = slices.DeleteFunc(slices.Clone(old.Devices), func(rule specs.LinuxDeviceCgroup) bool {
			return slices.ContainsFunc(update.Devices, func(again specs.LinuxDeviceCgroup) bool { return reflect.DeepEqual(rule, again) })
		})
		merged.Devices = append(merged.Devices, update.Devices...)
	}
	return merged
}

// Relimit is UpdateContainer for plugins of the node: it tells nobody, and waits
// for no other operation on the container, which may be waiting for the plugin.
func (e *Engine) Relimit(id string, r *specs.LinuxResources) error {
	c, err := e.container(id)
	if err != nil {
		return err
	}
	i := c.inst
	i.mu.Lock()
	state, merged := c.stateLocked(), addLimits(c.rec.Resources, r)
	i.mu.Unlock()
	if !legal(opUpdate, state) {
		return errorf(ErrNotReady, "container %s is %s", c.id, state)
	}
	if err := classify(e.cfg.Cgroups.Load(i.rec.Cgroup).CheckSub(merged)); err != nil {
		return err
	}
	if state == ContainerRunning {
		if _, err := e.updateRunning(c, Update{Resources: r}, merged, 0); err != nil {
			return classify(err)
		}
	}
	i.mu.Lock()
	c.rec.Resources = addLimits(c.rec.Resources, r)
	c.planned = nil
	// A start that is under way has its limits already.
	c.revised = state == ContainerCreated && (c.claim != nil && c.claim.what == claimStart || !c.rec.StartedAt.IsZero())
	rec, late := c.rec, c.revised && c.claim == nil
	i.mu.Unlock()
	if late {
		e.revise(c)
	}
	return record.WriteVolatile(c.recordPath(), rec)
}

// revise gives a container that has just started the limits that a plugin asked
// for meanwhile.
func (e *Engine) revise(c *container) {
	c.inst.mu.Lock()
	revised, limits := c.revised, c.rec.Resources
	c.revised = false
	c.inst.mu.Unlock()
	if !revised || limits == nil {
		return
	}
	now := *limits
	now.Devices = nil // they are in force, beside the defaults
	if _, err := e.updateRunning(c, Update{Resources: &now}, &now, 0); err != nil {
		e.cfg.Log.Warn("limits that a plugin wants can't be set", "container", c.id, "error", err)
	}
}
