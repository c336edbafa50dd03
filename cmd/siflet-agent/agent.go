package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall" //nolint:depguard // the name of a signal; no system call
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cgroups/systemd"
	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/cri"
	"github.com/siflet/siflet/cri/nri"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
)

// stopTime is what calls under way get when the agent is told to stop.
const stopTime = 10 * time.Second

func agentCommand() *cobra.Command {
	var (
		file string
		bins setup.Programs
	)
	c := &cobra.Command{
		Use: "agent", Short: "Run the node agent in the foreground", Args: cobra.NoArgs,
		Long: "Run the node agent: it serves the Container Runtime Interface on a unix socket.\n" +
			"SIGTERM stops it; pods go on and the next agent takes them over. SIGHUP makes it read its configuration again.\n\n" +
			"A container that names neither command nor args runs what its image says: ENTRYPOINT and CMD of a Docker or\n" +
			"OCI image; of a Singularity image the startscript or, if it has none, the runscript. command replaces ENTRYPOINT\n" +
			"and CMD, or the script; args alone replace CMD, or are the script's arguments. The VOLUMEs of an image can be\n" +
			"written even if its root can't; what is written goes with the container.",
	}
	flags := config.Register(c.Flags())
	c.Flags().StringVar(&file, "config", "", "TOML file with the same settings and more (default "+config.File+", if there);\n"+
		"\"siflet config default\" prints one, \"siflet config check\" checks it")
	c.Flags().StringVar(&bins.Instance, "instance-binary", "", "siflet-instance to use")
	c.Flags().StringVar(&bins.Action, "action-binary", "", "siflet-action to use")
	for _, name := range []string{"instance-binary", "action-binary"} {
		c.Flags().Lookup(name).Hidden = true
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		load := func() (*config.Config, error) { return config.Load(file, flags) }
		settings, err := load()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		bins, err := bins.Complete()
		if err != nil {
			return err
		}
		return runAgent(ctx, settings, load, bins)
	}
	c.AddCommand(statusCommand(), eventsCommand())
	return c
}

// runAgent serves until ctx ends. Pods outlive it. load reads the configuration
// again.
func runAgent(ctx context.Context, c *config.Config, load func() (*config.Config, error), bins setup.Programs) (err error) {
	start := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("the agent must be started by root: it makes namespaces, mounts and cgroups")
	}
	// Who starts us may have a mask that lets everybody write: to the socket of plugins, too.
	const others = 0o022
	linux.Umask(linux.Umask(others) | others)
	l := &live{log: newLogbook(os.Stderr, c), now: c}
	log := l.log.Logger
	warnOfMissing(c, log)
	nets, err := newNetwork(c, log)
	if err != nil {
		return err
	}
	// The streaming library logs by itself.
	klog.SetSlogLogger(slog.New(ofStreams{log.Handler()}))
	relay, err := newRelay(ctx, c, log)
	if err != nil {
		return err
	}
	l.meter = newMetrics()
	traces := startTracer(c.TraceEndpoint, log)
	defer traces.stop()
	engine, images, err := openEngine(ctx, l, bins, nets, relay)
	if err != nil {
		return err
	}
	stopPlugins, err := startPlugins(relay, engine) //nolint:contextcheck // plugins may connect until they are stopped
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	defer func() {
		err = errors.Join(err, stopPlugins(), engine.Close())
		nets.Close()
	}()
	l.meter.registry.MustRegister(storeSize(images.Usage), counted(engine.Counts))
	if err := l.meter.serve(ctx, c.MetricsListen, log); err != nil {
		return err
	}
	defer l.meter.close()
	server, err := cri.New(ctx, cri.Config{
		Engine: engine, Images: images, Meter: l.meter, Version: semanticVersion(version), StreamAddress: c.StreamAddress, Log: log,
		StreamIdleTimeout: c.StreamIdleTimeout, Around: traces.around(engine),
		Handlers:  func() map[string]*runtime.Handler { return handlers(l.current()) },
		Described: func() any { return l.current() },
		Node: cri.Node{
			AppArmor: appArmor(), SELinux: cri.SELinux{Supported: runtime.SELinuxRuns(), Enabled: c.EnableSELinux}, Devices: runtime.Devices,
			RecursiveReadOnly: runtime.RecursiveReadOnly(), Limits: engine.Limits(),
			RestrictPorts: !c.UnprivilegedPorts, RestrictPing: !c.UnprivilegedICMP,
		},
	})
	if err != nil {
		return err
	}
	socket, err := cri.Listen(ctx, c.Listen)
	if err != nil {
		return errors.Join(err, server.Stop(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }() //nolint:contextcheck // waited for below; Stop ends it
	defer l.reloadOnHangUp(ctx, load)()
	log.Info("agent is serving", "socket", c.Listen, "state_dir", c.StateDir, "took", time.Since(start))
	notifyReady(ctx, log)
	select {
	case <-ctx.Done():
		log.Info("agent is stopping; pods go on")
	case err = <-served:
		served <- nil
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return errors.Join(err, server.Stop(grace), <-served)
}

func newNetwork(c *config.Config, log *slog.Logger) (*network.Network, error) {
	mode := network.Mode(c.Network)
	if c.Network == "auto" {
		mode = network.Auto
	}
	return network.New(network.Config{
		Mode: mode, CNIConfDir: c.CNIConfDir, CNIBinDirs: c.CNIBinDirs, CNITimeout: c.CNITimeout, StateDir: filepath.Join(c.StateDir, "network"),
		Bridge: c.Bridge, Subnets: c.Ranges(), Log: log,
	})
}

// newGroups is the machine's cgroups, by the driver that c asks for.
func newGroups(ctx context.Context, c *config.Config, bins setup.Programs) (*cgroups.Manager, error) {
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		return nil, fmt.Errorf("%w; mount the cgroup file systems first", err)
	}
	auto := c.CgroupDriver == "auto" && groups.Version() == 2 && systemd.Running()
	if c.CgroupDriver != "systemd" && !auto {
		return groups, nil
	}
	units, err := systemd.New(ctx, bins.Instance, "hold")
	if err == nil {
		groups, err = cgroups.New(cgroups.Config{Units: units})
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup_driver %s: %w", c.CgroupDriver, err)
	}
	if _, err := groups.Parent(c.CgroupParent); c.CgroupParent != "" && err != nil {
		return nil, fmt.Errorf("%w; systemd runs this machine: name a slice, or say --cgroup-driver cgroupfs", err)
	}
	return groups, nil
}

func openEngine(ctx context.Context, l *live, bins setup.Programs, nets *network.Network, relay *nri.Relay) (*runtime.Engine, *image.Store, error) {
	c, log := l.now, l.log.Logger
	groups, err := newGroups(ctx, c, bins)
	if err != nil {
		return nil, nil, err
	}
	from := sources(c)
	l.registry, l.policy = from.Registry(log), from.Trust(log)
	// One that is of no use is in the log now. The agent serves all the same: pods go on,
	// and a mended one counts from the next pull or start on.
	_ = l.policy.Err()
	l.dirs = image.NewDirs(c.ImageDirs)
	images := setup.NewImages(filepath.Join(c.StateDir, "images"), func() image.Options {
		return image.Options{Registry: l.registry, Policy: l.policy, Dirs: l.dirs, Log: log, Parallel: c.ParallelLayers}
	})
	drain := c.ExecDrainTimeout
	if drain == 0 {
		drain = -1 // zero is what the engine thinks best
	}
	made := runtime.Config{
		StateDir: c.StateDir, RunDir: c.RunDir, InstanceBinary: bins.Instance, ActionBinary: bins.Action,
		Images: images, Trust: l.policy, Cgroups: groups, CgroupParent: c.CgroupParent, CDIDirs: c.CDIDirs, Network: nets, Log: log,
		Observer:  observer{l.meter, c.TraceEndpoint != ""},
		ExecDrain: drain, Criu: c.Criu, RestoreImages: c.RestoreImages,
		ImageDirs: l.dirs, RefuseExt3: !c.MountExt3,
		SELinux: labels(c, log), SELinuxCategories: c.SELinuxCategories, KeepRun: true,
	}
	if relay != nil {
		made.Plugins = relay
	}
	engine, err := runtime.Open(ctx, made)
	if errors.Is(err, runtime.ErrBusy) {
		return nil, nil, fmt.Errorf("%w; stop that agent, or give this one a --state-dir and a --run-dir of its own", err)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := images.Store()
	if err != nil {
		return nil, nil, errors.Join(err, engine.Close())
	}
	for _, problem := range store.Problems() {
		log.Warn("an image record is of no use", "error", problem)
	}
	return engine, store, nil
}

// semanticVersion makes a version that the kubelet can read of any.
func semanticVersion(v string) string {
	core, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), "-")
	var major, minor, patch int
	if n, err := fmt.Sscanf(core, "%d.%d.%d", &major, &minor, &patch); err == nil && n == 3 {
		return strings.TrimPrefix(v, "v")
	}
	return "0.0.0-" + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return '-'
	}, v)
}

// labels says whether SELinux is wanted and there.
func labels(c *config.Config, log *slog.Logger) bool {
	if c.EnableSELinux && !runtime.SELinuxRuns() {
		log.Warn("enable_selinux is set, but the kernel runs without SELinux, or /sys/fs/selinux is not mounted: nothing is labelled")
		return false
	}
	return c.EnableSELinux
}
