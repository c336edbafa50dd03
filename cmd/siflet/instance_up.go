package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime"
)

// await returns when the service is up. Others may have the engine meanwhile.
func (s *starting) await(ctx context.Context, i runtime.Instance, n *notifyListener) error {
	if s.until.kind == waitNothing {
		return nil
	}
	reader, err := s.w.reader(ctx, s.roots)
	if err != nil {
		return err
	}
	return s.until.wait(ctx, s, reader, i, n)
}

// takeBackLater is takeBack when others may have the engine.
func (s *starting) takeBackLater(ctx context.Context, i runtime.Instance) error {
	clean := context.WithoutCancel(ctx)
	engine, err := s.engine(clean)
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // it gives back locks only
	if _, err := engine.Instance(i.ID); errors.Is(err, runtime.ErrNotFound) {
		return s.removePID() // somebody else has taken it away
	}
	return s.takeBack(clean, engine, i)
}

// takeBack stops and removes what was started.
func (s *starting) takeBack(ctx context.Context, engine *runtime.Engine, i runtime.Instance) error {
	clean := context.WithoutCancel(ctx)
	signal := signalTerminate
	if c := only(engine.Containers(), i.ID); c != nil {
		if own, err := runtime.ParseSignal(c.StopSignal); err == nil {
			signal = own
		}
	}
	_, err := engine.EndInstance(clean, i.ID, signal, time.Duration(s.s.stopTimeout)*time.Second)
	return errors.Join(err, engine.RemoveInstance(clean, i.ID), s.removePID())
}

// lastLines are what the service has written since its start, the last of it.
func (s *starting) lastLines(ctx context.Context) string {
	var out strings.Builder
	l := logReader{path: s.container.LogPath, skip: s.logged}
	const some = 10
	if err := l.show(ctx, &out, logOptions{tail: some, stdout: true, stderr: true}); err != nil || out.Len() == 0 {
		return ""
	}
	return "; its last lines:\n" + strings.TrimRight(out.String(), "\n")
}
