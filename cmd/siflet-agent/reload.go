package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall" //nolint:depguard // the name of a signal; no system call

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// live is what goes by settings that may change while the agent runs.
type live struct {
	log      *logbook
	registry *registry.Client
	policy   *trust.Policy
	dirs     *image.Dirs
	meter    *metrics

	mu  sync.Mutex
	now *config.Config
}

// current is the configuration that holds.
func (l *live) current() *config.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// reloadOnHangUp reads the configuration again at each SIGHUP, until ctx ends.
func (l *live) reloadOnHangUp(ctx context.Context, load func() (*config.Config, error)) (wait func()) {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		defer signal.Stop(hangUps)
		for {
			select {
			case <-hangUps:
				notifyReloading(ctx, l.log.Logger)
				l.reload(ctx, load)
				notifyReady(ctx, l.log.Logger)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { <-done }
}

// reload goes by the new configuration as far as that is possible without a restart. If
// there is anything wrong with it everything stays as it is.
func (l *live) reload(ctx context.Context, load func() (*config.Config, error)) {
	read, err := load()
	if err != nil {
		l.refuse(err)
		return
	}
	old := l.current()
	changes := config.Changes(old, read)
	next := config.Keep(old, read)
	if next.MetricsListen != old.MetricsListen {
		if err := l.meter.serve(ctx, next.MetricsListen, l.log.Logger); err != nil {
			l.refuse(err)
			return
		}
	}
	l.log.apply(next)
	from := sources(next)
	l.registry.Change(from.Hosts, setup.Keychain(from.Auth))
	l.policy.Change(from.PolicyFile(l.log.Logger))
	l.dirs.Change(next.ImageDirs)
	_ = l.policy.Err() // one that is of no use is in the log now
	l.mu.Lock()
	l.now = next
	l.mu.Unlock()
	var changed, waiting []string
	for _, c := range changes {
		if c.Reload {
			changed = append(changed, c.Name)
		} else {
			waiting = append(waiting, c.Name)
		}
	}
	warnOfMissing(next, l.log.Logger)
	l.log.Info("configuration is read again", "changed", strings.Join(changed, " "))
	if len(waiting) > 0 {
		l.log.Warn("changes of the configuration that need a restart of the agent; until then the old values hold",
			"keys", strings.Join(waiting, " "))
	}
}

func (l *live) refuse(err error) {
	for _, p := range problems(err) {
		l.log.Error("the configuration was not read again: everything is as it was", "error", p)
	}
}

// problems are the lines of an error that has several.
func problems(err error) []string {
	list, ok := errors.AsType[config.Problems](err)
	if !ok {
		return []string{err.Error()}
	}
	lines := make([]string, 0, len(list))
	for _, p := range list {
		lines = append(lines, p.String())
	}
	return lines
}

// sources are where the agent's images come from.
func sources(c *config.Config) setup.Sources {
	s := setup.DefaultSources(version)
	s.Hosts, s.Auth, s.Parallel = c.RegistryHosts, c.AuthFile, c.ParallelLayers
	if c.PolicyNamed() {
		s.Policy, s.PolicyNamed = c.Policy, true
	}
	return s
}
