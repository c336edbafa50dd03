package supervisor

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// What a health check has found out.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

const (
	// earlyInterval is how often a service that comes up is looked at, at least.
	earlyInterval   = time.Second
	defaultInterval = 30 * time.Second
	defaultRetries  = 3
)

// health runs a command in the container now and then.
//
//	starting -> healthy <-> unhealthy
//	   +----------------------^
type health struct {
	v        *service
	spec     HealthSpec
	program  linux.FD
	timer    *timer
	run      *execution
	state    string
	failures int // in a row
	since    time.Time
}

func newHealth(v *service, spec *HealthSpec) (*health, error) {
	h := &health{v: v, spec: *spec, program: linux.NoFD}
	if h.spec.Exec == nil || len(h.spec.Exec.Program) == 0 {
		return nil, errors.New("health check: no command")
	}
	exec := *spec.Exec
	h.spec.Exec = &exec
	var err error
	if h.program, err = linux.MemFile("program", exec.Program); err != nil {
		return nil, err
	}
	exec.Program = nil
	if h.spec.Interval <= 0 {
		h.spec.Interval = defaultInterval
	}
	if exec.Timeout <= 0 {
		exec.Timeout = defaultInterval
	}
	if h.spec.Retries <= 0 {
		h.spec.Retries = defaultRetries
	}
	return h, nil
}

func (h *health) begin() {
	if h == nil {
		return
	}
	h.end()
	h.state, h.failures, h.since = HealthStarting, 0, time.Now()
	h.next()
}

// early says that a failure does not count yet.
func (h *health) early() bool {
	return h.state == HealthStarting && time.Since(h.since) < max(h.spec.StartPeriod, h.spec.Interval)
}

func (h *health) next() {
	wait := h.spec.Interval
	if h.early() {
		wait = min(wait, earlyInterval)
	}
	h.timer = h.v.c.s.loop.after(wait, h.check)
}

func (h *health) check() {
	s := h.v.c.s
	s.garbage += perRequest
	s.soon()
	h.timer = nil
	stdio := [3]linux.FD{linux.NoFD, linux.NoFD, linux.NoFD}
	defer func() { closeAll(stdio[:]) }()
	var err error
	for i := range stdio {
		if err == nil {
			stdio[i], err = s.openNull()
		}
	}
	if err == nil {
		h.run, err = s.runExec(h.v.c, h.spec.Exec, stdio, h.program)
	}
	if err != nil {
		h.result(false)
		return
	}
	h.run.told = func(e *Exit, failed bool) {
		h.run = nil
		h.result(!failed && e.Code == 0 && !e.TimedOut)
	}
}

func (h *health) result(ok bool) {
	switch {
	case h.state == "":
		return // the service is over
	case ok:
		h.state, h.failures = HealthHealthy, 0
	case h.early():
	default:
		if h.failures++; h.failures >= h.spec.Retries {
			h.state = HealthUnhealthy
		}
	}
	h.next()
}

// end stops looking.
func (h *health) end() {
	if h == nil {
		return
	}
	h.v.c.s.loop.stop(h.timer)
	h.timer, h.state = nil, ""
	if x := h.run; x != nil {
		x.told = func(*Exit, bool) {}
		h.run = nil
		x.kill()
	}
}

func (h *health) release() {
	if h != nil {
		h.end()
		_ = h.program.Close()
		h.program = linux.NoFD
	}
}
