package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
)

// What --wait can wait for.
const (
	waitNothing = ""
	waitUp      = "up" // what there is: health, published ports, or that it goes on
	waitTCP     = "tcp"
	waitCommand = "cmd"
	waitNotify  = "notify"
	waitHealthy = "healthy"
)

// goesOn is how long a service must have run to be up where nothing else tells.
const goesOn = time.Second

// condition is when a service is up.
type condition struct {
	kind    string
	ports   []string // HOST:PORT, as in the instance
	command string
	action  []byte // the command's
	// since is when the service began that runs now, the one after so many restarts.
	since    time.Time
	restarts int
}

// parseWait reads --wait.
func parseWait(text string) (condition, error) {
	kind, rest, _ := strings.Cut(text, ":")
	bad := usageError{text: fmt.Sprintf("--wait %q: want PORT, tcp:HOST:PORT, cmd:COMMAND, notify or healthy", text)}
	switch {
	case text == waitNothing, text == waitUp, text == waitNotify, text == waitHealthy:
		return condition{kind: text}, nil
	case kind == waitCommand && strings.TrimSpace(rest) != "":
		return condition{kind: waitCommand, command: rest}, nil
	case kind == waitTCP:
		if !strings.Contains(rest, ":") {
			rest = "localhost:" + rest
		}
	default:
		rest = "localhost:" + text
	}
	_, port, err := net.SplitHostPort(rest)
	if number, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || number == 0 {
		return condition{}, bad
	}
	return condition{kind: waitTCP, ports: []string{rest}}, nil
}

// prepare finds out what to wait for.
func (c *condition) prepare(ctx context.Context, s *starting, what subject) error {
	checked := s.container.Service.Health != nil
	switch {
	case c.kind == waitHealthy && !checked:
		return usageError{text: "--wait=healthy: there is no health check; give one with --health-cmd"}
	case c.kind == waitUp && checked:
		c.kind = waitHealthy
	case c.kind == waitUp:
		for _, p := range s.instance.Ports {
			if p.Protocol == "tcp" {
				c.kind = waitTCP
				c.ports = append(c.ports, "localhost:"+strconv.Itoa(int(p.Container)))
			}
		}
	case c.kind == waitCommand:
		var err error
		c.action, err = s.o.encodedRequest(ctx, discard{}, "exec", c.words(), what)
		return err
	}
	return nil
}

func (c *condition) words() []string { return []string{"/bin/sh", "-c", c.command} }

// vacant makes sure that nobody else answers where the service is to.
func (c *condition) vacant(ctx context.Context, s *starting) error {
	if c.kind != waitTCP || s.instance.Namespaces.Network != runtime.ModeHost {
		return nil
	}
	for _, address := range c.ports {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		_ = conn.Close() // nothing was said
		_, port, _ := net.SplitHostPort(address)
		number, _ := strconv.ParseUint(port, 10, 16)
		return fmt.Errorf("port %s is taken already, by %s; stop that, or have the service use another port", port, network.Listener("tcp", uint16(number)))
	}
	return nil
}

// wait returns when the service is up; else it says why it is not.
func (c *condition) wait(ctx context.Context, s *starting, reader *runtime.Reader, i runtime.Instance, n *notifyListener) error {
	if c.kind == waitNothing {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.s.waitTimeout)
	defer cancel()
	const pause = 50 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	c.since = time.Now()
	why := errors.New("there was no time")
	for {
		up, reason := c.look(ctx, reader, i, n)
		if up {
			return nil
		}
		if ctx.Err() == nil {
			why = reason // else it is that there is no more time
		}
		now := status{state: stateExited}
		err := reader.Refresh(ctx, i.ID)
		if fresh, ferr := reader.Instance(i.ID); ferr == nil {
			now = statusOf(fresh, only(reader.Containers(), i.ID))
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("instance %s is not up after %s (%s): %w%s", s.name, s.s.waitTimeout, now, why, s.lastLines(context.WithoutCancel(ctx)))
		case !now.up() || now.state == "unhealthy" || err != nil:
			return fmt.Errorf("instance %s did not come up: it %s%s", s.name, now.phrase(), s.lastLines(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// look says whether the service is up, and if not, why.
func (c *condition) look(ctx context.Context, reader *runtime.Reader, i runtime.Instance, n *notifyListener) (bool, error) {
	container := only(reader.Containers(), i.ID)
	if container == nil {
		return false, errors.New("it has gone")
	}
	switch c.kind {
	case waitHealthy:
		return container.Service.Health == "healthy", errors.New("its health check has not succeeded")
	case waitTCP:
		for _, address := range c.ports {
			if err := dialIn(ctx, i, address); err != nil {
				return false, err
			}
		}
		return true, nil
	case waitCommand:
		return c.succeeds(ctx, reader, container.ID)
	case waitNotify:
		return n.isReady(), errors.New("it has not said READY=1")
	default:
		return c.goesOn(statusOf(i, container), time.Now())
	}
}

// goesOn says whether the service has run for a while without having to be started again.
func (c *condition) goesOn(s status, now time.Time) (bool, error) {
	if s.restarts != c.restarts || s.state == stateRestarting {
		c.since, c.restarts = now, s.restarts
	}
	if c.restarts > 0 {
		return s.up() && now.Sub(c.since) >= goesOn, errors.New("it ends, and is started again")
	}
	return s.up() && now.Sub(c.since) >= goesOn, errors.New("it has just begun")
}

func dialIn(ctx context.Context, i runtime.Instance, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var conn net.Conn
	var err error
	switch {
	case i.Spec.Namespaces.Network != runtime.ModeHost && !linux.IsRoot():
		return listensIn(i, address)
	case i.Spec.Namespaces.Network == runtime.ModeHost:
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	default:
		conn, err = network.Dial(ctx, fmt.Sprintf("/proc/%d/ns/net", i.SupervisorPID), "tcp", address)
	}
	if err == nil {
		_ = conn.Close() // nothing was said
	}
	return err
}

// listensIn does for dialIn where no program with threads can enter the instance's network.
func listensIn(i runtime.Instance, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("%s: without root and with --net only ports of localhost can be waited for", host)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err == nil && !network.Listens(i.SupervisorPID, uint16(number)) {
		err = fmt.Errorf("nobody listens on port %s", port)
	}
	return err
}

func (c *condition) succeeds(ctx context.Context, reader *runtime.Reader, id string) (bool, error) {
	session, err := reader.ExecFiles(ctx, id, runtime.ExecSpec{Args: c.words(), Action: c.action, Keep: true}, nil, nil, nil)
	if err != nil {
		return false, err
	}
	defer session.Close() //nolint:errcheck // it has ended, or is to end
	exit, err := session.Wait(ctx)
	if err != nil {
		return false, err
	}
	return exit.Code == 0, fmt.Errorf("the command ends with %d", exit.Code)
}
