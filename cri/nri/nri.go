// Package nri lets plugins of the Node Resource Interface take part in the lives
// of pods and containers: it hands what the engine tells to the plugins that are
// connected, and what they ask for to the engine.
//
// It decides nothing by itself. It refuses what a plugin asks for that can't be
// done exactly. It writes no file but the socket that plugins connect to.
package nri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	nrilog "github.com/containerd/nri/pkg/log"
	validator "github.com/containerd/nri/plugins/default-validator/builtin"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
)

// Validator is what the built-in validator refuses.
type Validator = validator.DefaultValidatorConfig

// Config says where plugins are and how long they may take. The zero value is
// containerd's defaults.
type Config struct {
	SocketPath       string        // /var/run/nri/nri.sock
	PluginPath       string        // /opt/nri/plugins: started with the agent
	PluginConfigPath string        // /etc/nri/conf.d: their configuration
	Registration     time.Duration // 5 s
	Request          time.Duration // 2 s
	// NoConnections leaves it at the plugins that are started with the agent.
	NoConnections bool
	Validator     Validator
	Version       string // the agent's
	Log           *slog.Logger
}

// Engine is what plugins' wishes are carried out by; *runtime.Engine is one.
type Engine interface {
	Subjects() []*runtime.Subject
	Relimit(id string, r *specs.LinuxResources) error
	StopContainer(ctx context.Context, id string, grace time.Duration, o runtime.StopOptions) error
}

// Relay is a runtime.Plugins. Use New, open the engine with it, then Start, then
// Stop. It is safe for concurrent use.
type Relay struct {
	log    *slog.Logger
	nri    *adaptation.Adaptation
	engine Engine
	socket string // empty: nobody may connect
	door   *door  // nil before Start

	plugins atomic.Int32 // how many are connected
	workers sync.WaitGroup
	last    answers

	// turn is held while plugins are told something: they hear of one thing at a time.
	turn  chan struct{}
	known map[string]*life // guarded by turn
}

// life is how much of an instance or a container has been told.
type life struct {
	subject *runtime.Subject
	told    runtime.Step
	ended   bool // the process ended before its start was told
}

// New makes a relay. Nothing is connected before Start.
func New(ctx context.Context, c Config) (*Relay, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.defaults()
	r := &Relay{log: c.Log, turn: make(chan struct{}, 1), known: map[string]*life{}}
	options := []adaptation.Option{
		adaptation.WithSocketPath(c.SocketPath), adaptation.WithPluginPath(c.PluginPath),
		adaptation.WithPluginConfigPath(c.PluginConfigPath), adaptation.WithDefaultValidator(&c.Validator),
		adaptation.WithMetrics(meter{r}),
		adaptation.WithTTRPCOptions(
			[]ttrpc.ClientOpts{ttrpc.WithUnaryClientInterceptor(r.answered)},
			[]ttrpc.ServerOpt{ttrpc.WithUnaryServerInterceptor(r.asked)},
		),
	}
	if err := checkPlugins(c.PluginPath); err != nil {
		return nil, fmt.Errorf("NRI: %w", err)
	}
	if !c.NoConnections && served(ctx, c.SocketPath) {
		c.Log.Warn("another process serves NRI; plugins can't connect to this agent: give it another nri_socket", "socket", c.SocketPath)
		c.NoConnections = true
	}
	if c.NoConnections {
		options = append(options, adaptation.WithDisabledExternalConnections())
	}
	if !c.NoConnections {
		r.socket = c.SocketPath
	}
	// The library keeps these for all.
	nrilog.Set(libraryLog{c.Log})
	adaptation.SetPluginRegistrationTimeout(c.Registration)
	adaptation.SetPluginRequestTimeout(c.Request)
	var err error
	if r.nri, err = adaptation.New("siflet", c.Version, r.synchronize, r.update, options...); err != nil {
		return nil, fmt.Errorf("NRI: %w", err)
	}
	return r, nil
}

func (c *Config) defaults() {
	for _, d := range []struct {
		value    *string
		fallback string
	}{
		{&c.SocketPath, adaptation.DefaultSocketPath},
		{&c.PluginPath, adaptation.DefaultPluginPath},
		{&c.PluginConfigPath, adaptation.DefaultPluginConfigPath},
	} {
		if *d.value == "" {
			*d.value = d.fallback
		}
		*d.value = filepath.Clean(*d.value)
	}
	if c.Registration == 0 {
		c.Registration = adaptation.DefaultPluginRegistrationTimeout
	}
	if c.Request == 0 {
		c.Request = adaptation.DefaultPluginRequestTimeout
	}
}

// served says that somebody answers at a socket, which is not to be replaced then.
func served(ctx context.Context, socket string) bool {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was written
	return true
}

// Start starts the installed plugins and lets others connect. What the engine
// has already they are told as they come.
func (r *Relay) Start(engine Engine) error {
	r.engine = engine
	r.turn <- struct{}{}
	for _, s := range engine.Subjects() {
		d, err := s.Describe()
		if err != nil {
			r.log.Warn("plugins are not told of something that can't be described", "instance", s.InstanceID, "container", s.ContainerID, "error", err)
		}
		r.known[name(s)] = &life{subject: s, told: toldOf(s, &d)}
	}
	<-r.turn
	if err := r.nri.Start(); err != nil {
		return errors.Join(fmt.Errorf("NRI: %w", err), r.Stop())
	}
	if r.socket == "" {
		return nil
	}
	var err error
	if r.door, err = openDoor(r.socket, r.log); err != nil {
		r.log.Warn("the agent will not notice if the socket of NRI is removed", "error", err)
	}
	return nil
}

// Stop ends the plugins that Start started and takes the socket away.
func (r *Relay) Stop() error {
	if r.door != nil {
		r.door.close()
	}
	r.nri.Stop()
	r.workers.Wait()
	return nil
}

// toldOf is what plugins would have been told of what was there before them.
func toldOf(s *runtime.Subject, d *runtime.Description) runtime.Step {
	switch {
	case s.ContainerID == "" && d.Instance.State == runtime.InstanceReady:
		return runtime.StepRun
	case s.ContainerID == "":
		return runtime.StepStop
	case d.Container.State == runtime.ContainerCreated:
		return runtime.StepCreated
	case d.Container.State == runtime.ContainerRunning:
		return runtime.StepStarted
	default:
		return runtime.StepStopped
	}
}

func name(s *runtime.Subject) string {
	if s.ContainerID != "" {
		return s.ContainerID
	}
	return s.InstanceID
}

// libraryLog is the library's log: what it says of every step is for who debugs.
type libraryLog struct{ *slog.Logger }

// Debugf logs at level debug.
func (l libraryLog) Debugf(_ context.Context, format string, args ...any) {
	l.Debug("nri library", "message", fmt.Sprintf(format, args...))
}

// Infof logs at level debug too.
func (l libraryLog) Infof(_ context.Context, format string, args ...any) {
	l.Debug("nri library", "message", fmt.Sprintf(format, args...))
}

// Warnf warns.
func (l libraryLog) Warnf(_ context.Context, format string, args ...any) {
	l.Warn("nri library", "message", fmt.Sprintf(format, args...))
}

// Errorf warns too: the agent goes on.
func (l libraryLog) Errorf(_ context.Context, format string, args ...any) {
	l.Warn("nri library", "message", fmt.Sprintf(format, args...))
}
