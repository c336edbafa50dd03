package runtime

import (
	"context"
	"time"
)

// Observer hears of what takes time and of what ends, for those who count. Its methods are
// called with locks held, and must neither wait nor call the engine.
type Observer interface {
	// PhaseEnds hears of each phase. The context is that of the call that it was for.
	PhaseEnds(ctx context.Context, p Phase)
	// ContainerEnds hears how: "completed", "error", "oom_killed", "not_started", or "lost",
	// when nobody is left to tell.
	ContainerEnds(how string)
}

// What phases are of.
const (
	PhaseOfPod    = "pod"    // RunInstance
	PhaseOfCreate = "create" // CreateContainer
	PhaseOfStart  = "start"  // StartContainer
)

// Phase is a part of making a pod, or of making or starting a container. Some are at the
// same time as others.
type Phase struct {
	Of, Name string
	// ID is the instance's or the container's.
	ID string
	// Attempt is which of its containers this one is, from 0.
	Attempt    uint32
	Begin, End time.Time
	Err        error
}

// phase does what is a phase, and tells the observer of it.
func (e *Engine) phase(ctx context.Context, p Phase, do func() error) error {
	if e.cfg.Observer == nil {
		return do()
	}
	p.Begin = time.Now()
	p.Err = do()
	p.End = time.Now()
	e.cfg.Observer.PhaseEnds(ctx, p)
	return p.Err
}

// podPhase is a phase of making an instance.
func (e *Engine) podPhase(ctx context.Context, i *instance, name string, do func() error) error {
	return e.phase(ctx, Phase{Of: PhaseOfPod, Name: name, ID: i.id}, do)
}

// createPhase is a phase of making a container, startPhase one of its start.
func (e *Engine) createPhase(ctx context.Context, c *container, name string, do func() error) error {
	return e.phase(ctx, Phase{Of: PhaseOfCreate, Name: name, ID: c.id, Attempt: c.rec.Spec.Metadata.Attempt}, do)
}

func (e *Engine) startPhase(ctx context.Context, c *container, name string, do func() error) error {
	return e.phase(ctx, Phase{Of: PhaseOfStart, Name: name, ID: c.id, Attempt: c.rec.Spec.Metadata.Attempt}, do)
}

// observeEndLocked tells the observer how a container has ended.
func (e *Engine) observeEndLocked(c *container) {
	if e.cfg.Observer == nil {
		return
	}
	how := "error"
	switch end := c.snapshotLocked(); {
	case !c.rec.LostAt.IsZero():
		how = "lost"
	case !c.rec.FailedAt.IsZero():
		how = "not_started"
	case end.OOMKilled:
		how = "oom_killed"
	case end.ExitCode == 0:
		how = "completed"
	}
	e.cfg.Observer.ContainerEnds(how)
}
