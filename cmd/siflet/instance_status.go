package main

import (
	"fmt"
	"time"

	"github.com/siflet/siflet/runtime"
)

// What a person's instance can be. One with a health check that has something to
// say is what that says: starting, healthy or unhealthy.
const (
	stateRunning    = "running"
	stateRestarting = "restarting"
	stateExited     = "exited"
	stateCutOff     = "no network" // it has lost it
	stateMute       = "no answer"  // of what watches over it, which is there
)

// status is how an instance is.
type status struct {
	state string
	// code is how its service ended, if that is known and it has.
	code     *int
	restarts int
	again    time.Time
}

// statusOf is the state of an instance with its one container.
func statusOf(i runtime.Instance, c *runtime.Container) status {
	if i.Mute {
		return status{state: stateMute}
	}
	if c == nil {
		if i.State == runtime.InstanceReady {
			return status{state: stateRunning}
		}
		return status{state: stateExited}
	}
	s := status{state: stateRunning, restarts: c.Service.Restarts, again: c.Service.Again}
	exited := c.State == runtime.ContainerExited
	switch {
	case i.State != runtime.InstanceReady || exited && !c.Service.Idle && !c.Service.Left:
		s.state = stateExited
		if exited {
			s.code = &c.ExitCode
		}
	case !c.Service.Again.IsZero():
		s.state, s.code = stateRestarting, &c.Service.LastExit
	case i.NetworkLost != "":
		s.state = stateCutOff
	case c.Service.Health != "":
		s.state = c.Service.Health
	}
	return s
}

// up says that something is there to be used, or will be again.
func (s status) up() bool { return s.state != stateExited }

func (s status) String() string {
	if s.code == nil {
		return s.state
	}
	return fmt.Sprintf("%s (%d)", s.state, *s.code)
}

// phrase goes on from "it".
func (s status) phrase() string {
	if s.up() {
		return "is " + s.String()
	}
	return "has " + s.String()
}

// only is the one container of a person's instance.
func only(containers []runtime.Container, id string) *runtime.Container {
	for n := range containers {
		if containers[n].InstanceID == id {
			return &containers[n]
		}
	}
	return nil
}

// thisBoot says that an instance was made since the machine was started. Others are
// records of what is no more.
func thisBoot(i runtime.Instance) bool {
	now := bootID()
	return now == "" || i.BootID == now
}
