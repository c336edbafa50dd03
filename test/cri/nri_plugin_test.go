package cri_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/nri/pkg/api"
	nrilog "github.com/containerd/nri/pkg/log"
	"github.com/containerd/nri/pkg/stub"
)

// plugin is an NRI plugin that notes what it hears, and does what a test wants.
type plugin struct {
	stub.Stub

	mu     sync.Mutex
	heard  []string // "event name", of pods and containers by their names
	pods   map[string]*api.PodSandbox
	seen   map[string]*api.Container // the last of each name
	synced []string
	file   string // where to note it too

	options []stub.Option

	// What to do; nil is nothing. They are called without the lock.
	onSync   func([]*api.Container) []*api.ContainerUpdate
	onRun    func(context.Context, *api.PodSandbox) error
	onCreate func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error)
	onUpdate func(*api.Container, *api.LinuxResources) ([]*api.ContainerUpdate, error)
	onStart  func(*api.Container) error
	validate func(*api.ValidateContainerAdjustmentRequest) error
}

type quiet struct{}

func (quiet) Debugf(context.Context, string, ...any) {}
func (quiet) Infof(context.Context, string, ...any)  {}
func (quiet) Warnf(context.Context, string, ...any)  {}
func (quiet) Errorf(context.Context, string, ...any) {}

// nriSocket is where plugins reach an agent that has a run directory of its own.
func (a *agent) nriSocket() string { return a.dir + "/run/nri.sock" }

// connect connects a plugin, and returns when it has been told what there is.
func (p *plugin) connect(t *testing.T, a *agent, index string) {
	t.Helper()
	nrilog.Set(quiet{})
	var err error
	p.Stub, err = stub.New(p, append(p.options, stub.WithPluginName("test"), stub.WithPluginIdx(index), stub.WithSocketPath(a.nriSocket()),
		stub.WithOnClose(func() {}), stub.WithLogger(quiet{}))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("connect plugin: %v\n%s", err, a.log)
	}
	t.Cleanup(p.Stop)
	eventually(t, "the plugin to be synchronized", func() bool { return slices.Contains(p.events(), "synchronize") })
	eventually(t, "the agent to count it", func() bool { return strings.Contains(a.log.String(), index+"-test\\\" connected and synchronized") })
}

func (p *plugin) note(event string, pod *api.PodSandbox, c *api.Container) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what := event
	if pod != nil {
		if p.pods == nil {
			p.pods, p.seen = map[string]*api.PodSandbox{}, map[string]*api.Container{}
		}
		p.pods[pod.Name] = pod
		what += " " + pod.Name
	}
	if c != nil {
		p.seen[c.Name] = c
		what = event + " " + c.Name
	}
	p.heard = append(p.heard, what)
	if p.file != "" {
		f, err := os.OpenFile(p.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = fmt.Fprintln(f, what)
			_ = f.Close()
		}
	}
}

func (p *plugin) events() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

// hears waits until exactly these events have come since the plugin was connected,
// or since the last call.
func (p *plugin) hears(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the plugin to hear %q, not %q", want, p.events()), func() bool { return len(p.events()) >= len(want) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.heard, want) {
		t.Errorf("the plugin heard %q, want %q", p.heard, want)
	}
	p.heard = nil
}

func (p *plugin) container(name string) *api.Container {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[name]
}

// Configure takes the name of the file.
func (p *plugin) Configure(_ context.Context, config, _, _ string) (api.EventMask, error) {
	p.file = config
	return 0, nil
}

func (p *plugin) Synchronize(_ context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	p.mu.Lock()
	p.synced = nil
	for _, pod := range pods {
		p.synced = append(p.synced, pod.Name)
	}
	for _, c := range containers {
		p.synced = append(p.synced, c.Name)
	}
	p.mu.Unlock()
	var updates []*api.ContainerUpdate
	if p.onSync != nil {
		updates = p.onSync(containers)
	}
	p.note("synchronize", nil, nil)
	return updates, nil
}

func (p *plugin) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	p.note("run", pod, nil)
	if p.onRun != nil {
		return p.onRun(ctx, pod)
	}
	return nil
}

func (p *plugin) UpdatePodSandbox(_ context.Context, pod *api.PodSandbox, _, _ *api.LinuxResources) error {
	p.note("update", pod, nil)
	return nil
}

func (p *plugin) PostUpdatePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("updated", pod, nil)
	return nil
}

func (p *plugin) StopPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("stop", pod, nil)
	return nil
}

func (p *plugin) RemovePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	p.note("remove", pod, nil)
	return nil
}

func (p *plugin) CreateContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	p.note("create", pod, c)
	if p.onCreate != nil {
		return p.onCreate(c)
	}
	return nil, nil, nil
}

func (p *plugin) PostCreateContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	p.note("created", pod, c)
	return nil
}

func (p *plugin) StartContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	p.note("start", pod, c)
	if p.onStart != nil {
		return p.onStart(c)
	}
	return nil
}

func (p *plugin) PostStartContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	p.note("started", pod, c)
	return nil
}

func (p *plugin) UpdateContainer(_ context.Context, pod *api.PodSandbox, c *api.Container, r *api.LinuxResources) ([]*api.ContainerUpdate, error) {
	p.note("update", pod, c)
	if p.onUpdate != nil {
		return p.onUpdate(c, r)
	}
	return nil, nil
}

func (p *plugin) PostUpdateContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	p.note("updated", pod, c)
	return nil
}

func (p *plugin) StopContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) ([]*api.ContainerUpdate, error) {
	p.note("stop", pod, c)
	return nil, nil
}

func (p *plugin) RemoveContainer(_ context.Context, pod *api.PodSandbox, c *api.Container) error {
	p.note("remove", pod, c)
	return nil
}

func (p *plugin) ValidateContainerAdjustment(_ context.Context, r *api.ValidateContainerAdjustmentRequest) error {
	if p.validate != nil {
		return p.validate(r)
	}
	return nil
}

// installed makes this program a plugin when an agent starts it as one.
func installed() int {
	nrilog.Set(quiet{})
	p := &plugin{}
	s, err := stub.New(p, stub.WithLogger(quiet{}))
	if err == nil {
		err = s.Run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
