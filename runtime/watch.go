package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/supervisor"
)

// watch is one connection on which a supervisor tells what happens.
type watch struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more is heard
}

// close leaves the supervisor alone from now on.
func (w *watch) close() {
	if w != nil {
		w.cancel()
	}
}

// answerTime is how long a supervisor may take to answer what takes it no time.
// One that takes longer hangs, and must not hang whoever asks.
const answerTime = 5 * time.Second

const supervisorEnded = "its supervisor ended"

// errMute says that a supervisor is there and does not answer.
var errMute = errors.New("its supervisor does not answer")

// mute makes an error that comes of waiting too long, but not by the will of
// the caller's ctx, errMute.
func mute(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return errMute
	}
	return err
}

// supervisor is how to talk to that of an instance.
func (i *instance) supervisor() *supervisor.Client {
	i.mu.Lock()
	defer i.mu.Unlock()
	return supervisor.Of(linux.ProcessID{PID: i.rec.SupervisorPID, Start: i.rec.SupervisorStart}, i.run)
}

// dial makes sure, within answerTime, that an instance's supervisor answers.
func dial(ctx context.Context, i *instance) (*supervisor.Client, error) {
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	client := i.supervisor()
	if _, err := client.Status(ask); err != nil {
		return nil, mute(ctx, err)
	}
	return client, nil
}

// observe begins to watch an instance's supervisor, until it ends or the
// engine is closed.
func (e *Engine) observe(i *instance) (supervisor.Status, error) {
	client := i.supervisor()
	life, cancel := context.WithCancel(e.life.ctx())
	late := time.AfterFunc(answerTime, cancel)
	status, changes, err := client.Watch(life)
	if !late.Stop() && err == nil {
		err = errMute
	}
	if err == nil && status.ID != i.id {
		err = fmt.Errorf("the supervisor of %q answers in its place", status.ID)
	}
	if err = mute(e.life.ctx(), err); err != nil {
		cancel()
		return supervisor.Status{}, err
	}
	w := &watch{cancel: cancel, done: make(chan struct{})}
	i.mu.Lock()
	i.watch, i.client, i.alive, i.mute = w, client, true, false
	i.mu.Unlock()
	e.background(func() {
		defer close(w.done)
		defer cancel()
		for change := range changes {
			e.happened(i, change) //nolint:contextcheck // an end is told of whoever began to watch
		}
		if life.Err() == nil {
			e.ended(i, supervisorEnded) //nolint:contextcheck // likewise
		}
	})
	return status, nil
}

// happened takes note of what a supervisor tells.
func (e *Engine) happened(i *instance, change supervisor.Event) {
	i.mu.Lock()
	c := i.containers[change.Container]
	switch {
	case c == nil:
	case change.Exit == nil:
		e.startedLocked(c, change.PID)
	default:
		e.exitedLocked(c, change.Exit)
	}
	i.mu.Unlock()
	if c != nil && change.Exit != nil {
		e.hooksAfterEnd(c)
		e.cfg.Log.Info("container exited", "container", c.id, "code", change.Exit.Code, "oom", change.Exit.OOM)
	}
}

// startedLocked notes that a container's process runs. Who hears of it first,
// the one who asked for the start or the watch, says so.
func (e *Engine) startedLocked(c *container, pid int) {
	if c.announced {
		return
	}
	c.announced = true
	c.rec.StartedAt = time.Now()
	c.rec.PID = pid
	e.tellLocked(EventStarted, c.inst, c.id)
}

func (e *Engine) exitedLocked(c *container, exit *supervisor.Exit) {
	if c.exit != nil || !c.rec.LostAt.IsZero() {
		return
	}
	e.startedLocked(c, 0) // it ended before its start was heard of
	c.exit = exit
	if c.rec.StartedAt.After(exit.At) {
		c.rec.StartedAt = exit.At
	}
	c.endLocked()
	e.tellLocked(EventStopped, c.inst, c.id)
	e.observeEndLocked(c)
	e.informEnd(c)
}

// ended takes note that an instance has no supervisor any more: what it left
// in exit files is all that will ever be known of its containers.
func (e *Engine) ended(i *instance, reason string) {
	i.mu.Lock()
	was := i.alive
	i.alive = false
	if was && reason != "" && i.claim == nil && !i.ending {
		i.rec.Reason = reason
	}
	list := i.listLocked()
	i.mu.Unlock()
	lost := false
	for _, c := range list {
		exit, err := readExit(c)
		i.mu.Lock()
		if exit != nil {
			e.exitedLocked(c, exit)
		} else if c.lostLocked() {
			lost = true
			if err != nil {
				c.rec.Reason = err.Error()
			}
		}
		i.mu.Unlock()
	}
	if was && reason != "" {
		e.endedUnasked(i, lost)
	}
}

// endedUnasked goes on from the end of a supervisor that nobody brought about who does so
// himself. The way down does.
func (e *Engine) endedUnasked(i *instance, lost bool) {
	i.mu.Lock()
	down, asked := i.claim != nil && i.claim.what != claimUpdate, i.ending
	i.mu.Unlock()
	if down || asked && !lost {
		return
	}
	e.cfg.Log.Warn("supervisor ended", "instance", i.id)
	for _, c := range e.sweep(i) {
		e.hooksAfterEnd(c)
		e.informEnd(c)
	}
	if !asked {
		e.tellStopped(i)
	}
}

// readExit returns nil without an error when there is no exit file.
func readExit(c *container) (*supervisor.Exit, error) {
	var exit supervisor.Exit
	err := record.Read(c.exitPath(), &exit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no exit is not an error
	}
	if err != nil {
		return nil, err
	}
	return &exit, nil
}

// endSupervisor has the instance's supervisor end all that runs and itself. One
// that does not do so, or in time, is killed with all the rest. It returns when
// all is heard that there is to hear.
func (e *Engine) endSupervisor(ctx context.Context, i *instance, group *cgroups.Group) error {
	i.mu.Lock()
	client, w := i.client, i.watch
	i.mu.Unlock()
	if client == nil {
		// A crash may have come between its start and our connecting to it.
		client, _ = dial(ctx, i) // if nobody answers, nobody need be asked
	}
	if client != nil {
		e.killAllFrozen(ctx, i)
		ask, cancel := context.WithTimeout(ctx, killTime)
		if err := client.Shutdown(ask); err != nil && !errors.Is(err, supervisor.ErrGone) {
			e.cfg.Log.Warn("supervisor did not end as told and is killed", "instance", i.id, "error", mute(ctx, err))
		}
		cancel()
	}
	if err := errors.Join(group.Kill(ctx), e.killUngrouped(i)); err != nil {
		return err
	}
	if w == nil {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
