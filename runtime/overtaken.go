package runtime

import (
	"context"
	"errors"

	"github.com/siflet/siflet/runtime/supervisor"
)

// overtaken replaces an error that an operation met with because the container or
// its instance was being stopped or removed, or its supervisor ended: how a
// connection broke then is of no use to anybody. Errors of a kind, and those of a
// caller who left, stay.
func (c *container) overtaken(err error) error {
	if !unexplained(err) {
		return err
	}
	i := c.inst
	i.mu.Lock()
	defer i.mu.Unlock()
	if by := i.overtakerLocked(); by != nil {
		return by
	}
	switch {
	case c.gone, c.claim != nil && c.claim.what == claimRemove:
		return errorf(ErrNotReady, "container %s is being removed", c.id)
	case c.exit != nil && !c.staysLocked():
		return errorf(ErrNotReady, "container %s has exited (%d)%s", c.id, c.exit.Code, afterColon(c.exit.Message))
	case errors.Is(err, supervisor.ErrGone):
		return as(ErrUnavailable, err)
	}
	return err
}

// overtaken is that for what is done to the instance itself.
func (i *instance) overtaken(err error) error {
	if !unexplained(err) {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if by := i.overtakerLocked(); by != nil {
		return by
	}
	return err
}

// overtakerLocked is the error that says what ends the instance, or nil.
func (i *instance) overtakerLocked() error {
	switch {
	case i.gone, i.claim != nil && i.claim.what == claimRemove:
		return errorf(ErrNotReady, "instance %s is being removed", i.id)
	case !i.rec.StoppedAt.IsZero():
		return errorf(ErrNotReady, "instance %s has been stopped", i.id)
	case i.claim != nil && i.claim.what == claimStop:
		return errorf(ErrNotReady, "instance %s is being stopped", i.id)
	case !i.alive:
		return errorf(ErrNotReady, "instance %s is not running: its supervisor ended", i.id)
	}
	return nil
}

func unexplained(err error) bool {
	var kind *kindError
	return err != nil && !errors.As(err, &kind) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// overtaken is that for a container that may be gone altogether.
func (v *view) overtaken(id string, err error) error {
	c, cerr := v.container(id)
	switch {
	case cerr == nil:
		return c.overtaken(err)
	case unexplained(err):
		return errorf(ErrNotReady, "container %s has been removed", id)
	}
	return err
}

// afterColon adds more to say, if there is some.
func afterColon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
