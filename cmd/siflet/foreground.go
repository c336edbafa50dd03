package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall" //nolint:depguard // the names of signals; no system call
	"time"

	"github.com/siflet/siflet/cmd/internal/notify"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/supervisor"
)

// stopSeconds is how long a service has to end when it is told to.
const stopSeconds = 10

// stay is the rest of a command that stays: it shows what the service writes, passes
// signals on, and ends as the service does. Nothing of the instance is left but its logs.
func (s *starting) stay(ctx context.Context, i runtime.Instance) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	reader, err := s.w.reader(ctx, s.roots)
	if err != nil {
		return err
	}
	container := only(reader.Containers(), i.ID)
	if container == nil {
		return errors.New("the instance has gone")
	}
	s.tell(ctx, fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=instance %s runs", os.Getpid(), s.name))
	shown := s.showOutput(ctx)
	exits := make(chan supervisor.Exit, 1)
	go func() {
		exit, err := reader.WaitService(ctx, container.ID)
		if err != nil {
			exit = supervisor.Exit{Code: exitFatal, Message: err.Error()}
		}
		exits <- exit
	}()
	asked := false
	var stopped sync.WaitGroup
	for {
		select {
		case sig := <-signals:
			if sig != syscall.SIGTERM && sig != syscall.SIGINT {
				s.pass(ctx, reader, container, sig)
				continue
			}
			if !asked {
				asked = true
				s.tell(ctx, "STOPPING=1\nSTATUS=instance "+s.name+" is told to end")
				stopped.Go(func() { s.end(ctx, i.ID) })
			}
		case exit := <-exits:
			s.tell(ctx, fmt.Sprintf("STOPPING=1\nSTATUS=instance %s has ended with %d", s.name, exit.Code))
			stopped.Wait()
			s.end(ctx, i.ID)
			shown()
			return s.outcome(exit)
		}
	}
}

// outcome ends the command as the service did. One that ended by the signal that told
// it to has done as it should.
func (s *starting) outcome(exit supervisor.Exit) error {
	if exit.Message != "" {
		warn(s.w.stderr, "instance %s: %s", s.name, exit.Message)
	}
	own, err := runtime.ParseSignal(s.container.StopSignal)
	if s.container.StopSignal == "" || err != nil {
		own = signalTerminate
	}
	if exit.Asked && (exit.Signal == own || exit.Signal == signalTerminate || exit.Code == 128+signalTerminate) { //nolint:mnd // as a shell says it
		return nil
	}
	if exit.Code == 0 {
		return nil
	}
	return statusError{code: exit.Code}
}

// tell tells the manager that has started us, if one has.
func (s *starting) tell(ctx context.Context, state string) {
	if err := notify.Send(ctx, state); err != nil {
		warn(s.w.stderr, "the service manager can't be told: %v", err)
	}
}

// pass passes a signal on, to the service's first process or, if that has left others
// behind, to those.
func (s *starting) pass(ctx context.Context, reader *runtime.Reader, c *runtime.Container, sig os.Signal) {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	err := reader.Signal(ctx, c.ID, int(number), false)
	if errors.Is(err, runtime.ErrNotReady) {
		err = reader.Signal(ctx, c.ID, int(number), true)
	}
	if err != nil {
		warn(s.w.stderr, "pass on %s: %v", sig, err)
	}
}

// end stops what is left of the instance and removes it.
func (s *starting) end(ctx context.Context, id string) {
	engine, err := s.w.open(ctx, s.roots)
	if err == nil {
		if i, ierr := engine.Instance(id); ierr == nil {
			err = s.takeBack(ctx, engine, i)
		}
		_ = engine.Close() // it gives back locks only
	}
	if err != nil {
		warn(s.w.stderr, "stop instance %s: %v", s.name, err)
	}
}

// showOutput copies what the service writes to our own outputs. What it returns waits
// until all is copied.
func (s *starting) showOutput(ctx context.Context) (finish func()) {
	over := make(chan struct{})
	live := func(context.Context) bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
	var copies sync.WaitGroup
	for _, one := range []struct {
		to io.Writer
		o  logOptions
	}{
		{os.Stdout, logOptions{follow: true, tail: -1, stdout: true}},
		{os.Stderr, logOptions{follow: true, tail: -1, stderr: true}},
	} {
		copies.Go(func() {
			l := logReader{path: s.container.LogPath, rotated: true, skip: s.logged, live: live}
			// Who was to read it may have gone; the service goes on.
			_ = l.show(ctx, one.to, one.o)
		})
	}
	return func() {
		close(over)
		done := make(chan struct{})
		go func() {
			copies.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(stopSeconds * time.Second): // nobody reads
		}
	}
}
