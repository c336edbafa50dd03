package runtime

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/siflet/siflet/network"
)

// newID is 64 hexadecimal digits of randomness.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

const (
	maxAttributes       = 64 << 10
	defaultSharedMemory = 64 << 20
)

func (s *InstanceSpec) validate() error {
	switch {
	case s.Settings.delegates() && s.Namespaces.User != nil:
		return errorf(ErrInvalid, "a user namespace: not with the handler's runtime %s, only with siflet's own", s.Settings.Runtime)
	case len(s.Attributes) > maxAttributes:
		return errorf(ErrInvalid, "attributes of %d bytes, more than %d", len(s.Attributes), maxAttributes)
	case len(s.Hostname) > 64:
		return errorf(ErrInvalid, "hostname %q is longer than 64 bytes", s.Hostname)
	case strings.ContainsAny(s.Hostname, "\x00\n/"):
		return errorf(ErrInvalid, "hostname %q has characters no hostname may have", s.Hostname)
	case s.SharedMemory < 0:
		return errorf(ErrInvalid, "shared memory of %d bytes", s.SharedMemory)
	case s.Namespaces.Network == ModeHost && len(s.Ports) > 0 && mapsPorts(s.Ports):
		return errorf(ErrInvalid, "ports can't be mapped in the host's network namespace")
	}
	for _, m := range []Mode{s.Namespaces.Network, s.Namespaces.IPC, s.Namespaces.UTS} {
		if m != ModeInstance && m != ModeHost {
			return errorf(ErrInvalid, "namespace mode %q is not for an instance", m)
		}
	}
	if err := s.Namespaces.checkUser(); err != nil {
		return err
	}
	switch s.Namespaces.PID {
	case ModeInstance, ModeContainer, ModeHost:
		return nil
	case ModeTarget, ModeShared:
	}
	return errorf(ErrInvalid, "PID namespace mode %q is not for an instance", s.Namespaces.PID)
}

func mapsPorts(ports []network.Port) bool {
	for _, p := range ports {
		if p.Host != 0 && p.Host != p.Container {
			return true
		}
	}
	return false
}

// RunInstance makes an instance and returns when it can take containers. A
// name that is in use is ErrExists, unless it is that of an identical request
// whose result nobody has heard of yet, because it is not done or its caller left:
// then this call returns that result.
// When the error is not nil nothing is left of the instance, or, if taking it
// away did not work either, StopInstance can try again.
func (e *Engine) RunInstance(ctx context.Context, spec InstanceSpec) (Instance, error) {
	if err := spec.validate(); err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", err)
	}
	if spec.Namespaces.User != nil {
		if err := e.UserNamespaces(); err != nil {
			return Instance{}, fmt.Errorf("run instance: %w", errorf(ErrInvalid, "no user namespaces on this node: %w", err))
		}
	}
	i, c, err := e.reserve(ctx, spec)
	if err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", err)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		i.mu.Lock()
		i.left = true
		i.mu.Unlock()
		return Instance{}, fmt.Errorf("run instance %s: %w", spec.Name, ctx.Err())
	}
	if c.err != nil {
		return Instance{}, fmt.Errorf("run instance: %w", c.err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unheard = i.unheard && unheard(ctx)
	return i.snapshotLocked(), nil
}

// inTransit is how long an answer may take to reach the caller.
const inTransit = time.Second

// unheard says that an answer given now may reach nobody: ctx has ended, or will
// before it is there.
func unheard(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < inTransit
}

// reserve takes the name and begins to make the instance, or finds one that
// is the result of the same request.
// The making goes on when the caller leaves.
func (e *Engine) reserve(ctx context.Context, spec InstanceSpec) (*instance, *claim, error) {
	id := newID()
	place, err := e.cfg.place(spec.CgroupParent, id)
	if err != nil {
		return nil, nil, err
	}
	i := &instance{
		id:         id,
		dir:        filepath.Join(e.cfg.StateDir, "instances", id),
		run:        filepath.Join(e.cfg.RunDir, "instances", id),
		containers: map[string]*container{},
		claim:      newClaim(claimStart),
		unheard:    true,
		rec: instanceRecord{
			Version: recordVersion, BootID: e.cfg.BootID, ID: id, Spec: spec,
			CreatedAt: following(time.Now(), e.attempts(spec.Metadata)),
		},
	}
	first := spec.foresee()
	i.rec.Cgroup, i.first = place, first
	if spec.Namespaces.Network != ModeHost && !spec.LoopbackOnly && e.cfg.Unprivileged == nil {
		i.rec.Netns = e.cfg.Network.PinPath("siflet-" + id)
	}
	e.mu.Lock()
	if other := e.instances[e.names[spec.Name]]; other != nil && spec.Name != "" {
		e.mu.Unlock()
		return sameRequest(other, spec)
	}
	select {
	case <-e.life.done:
		e.mu.Unlock()
		return nil, nil, errorf(ErrUnavailable, "the engine is closed")
	default:
	}
	e.instances[id] = i
	if spec.Name != "" {
		e.names[spec.Name] = id
	}
	c := i.claim
	// Added before the mutex goes, so that Close waits for it.
	e.background(func() {
		ctx, cancel := detached(ctx)
		defer cancel()
		err := e.bringUp(ctx, i)
		i.mu.Lock()
		lost := err != nil && i.left
		i.mu.Unlock()
		if lost {
			e.cfg.Log.Warn("an instance that its caller no longer waits for could not be made", "name", spec.Name, "error", err)
		}
		i.settle(c, err)
		e.readyFirst(ctx, i, first, err)
	})
	e.mu.Unlock()
	return i, c, nil
}

// sameRequest joins the making of an instance that nobody has heard of.
func sameRequest(i *instance, spec InstanceSpec) (*instance, *claim, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := errorf(ErrExists, "instance %s already exists", spec.Name)
	if !i.unheard || !sameJSON(i.rec.Spec, spec) {
		return nil, nil, taken
	}
	switch {
	case i.claim != nil && i.claim.what == claimStart:
		i.left = false
		return i, i.claim, nil
	case i.claim == nil && instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) == InstanceReady:
		return i, settled(), nil
	}
	return nil, nil, taken
}

func settled() *claim {
	c := newClaim("")
	close(c.done)
	return c
}

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
