package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall" //nolint:depguard // the name of a signal; no system call
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/cri"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

// stopTime is what calls under way get when the agent is told to stop.
const stopTime = 10 * time.Second

func agentCommand() *cobra.Command {
	var (
		options = defaultAgentOptions()
		file    string
		bins    setup.Programs
	)
	c := &cobra.Command{
		Use: "agent", Short: "Run the node agent in the foreground", Args: cobra.NoArgs,
		Long: "Run the node agent: it serves the Container Runtime Interface on a unix socket.\n" +
			"SIGTERM stops it; pods go on and the next agent takes them over.\n\n" +
			"A container that names neither command nor args runs what its image says: ENTRYPOINT and CMD of a Docker or\n" +
			"OCI image; of a Singularity image the startscript or, if it has none, the runscript. command replaces ENTRYPOINT\n" +
			"and CMD, or the script; args alone replace CMD, or are the script's arguments. The VOLUMEs of an image can be\n" +
			"written even if its root can't; what is written goes with the container.",
	}
	options.flags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "TOML file with the same settings (default "+defaultConfigFile+", if there)")
	c.Flags().StringVar(&bins.Instance, "instance-binary", "", "siflet-instance to use")
	c.Flags().StringVar(&bins.Action, "action-binary", "", "siflet-action to use")
	for _, name := range []string{"instance-binary", "action-binary"} {
		c.Flags().Lookup(name).Hidden = true
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := options.load(file, c.Flags()); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		bins, err := bins.Complete()
		if err != nil {
			return err
		}
		return runAgent(ctx, options, bins)
	}
	return c
}

// runAgent serves until ctx ends. Pods outlive it.
func runAgent(ctx context.Context, o agentOptions, bins setup.Programs) (err error) {
	start := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("the agent must be started by root: it makes namespaces, mounts and cgroups")
	}
	log, err := o.logger(os.Stderr)
	if err != nil {
		return err
	}
	nets, err := o.network(log)
	if err != nil {
		return err
	}
	// The streaming library logs by itself.
	klog.SetSlogLogger(log)
	engine, images, err := openEngine(ctx, o, bins, nets, log)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, engine.Close())
		nets.Close()
	}()
	meter := newMetrics(images.Usage)
	stopMetrics, err := meter.serve(ctx, o.MetricsListen, log)
	if err != nil {
		return err
	}
	defer stopMetrics()
	server, err := cri.New(ctx, cri.Config{
		Engine: engine, Images: images, Meter: meter, Version: semanticVersion(version), StreamAddress: o.StreamAddress, Described: o, Log: log,
		Node: cri.Node{
			AppArmor: hasAppArmor(), SELinux: hasSELinux(), Devices: runtime.Devices,
			RecursiveReadOnly: runtime.RecursiveReadOnly(),
		},
	})
	if err != nil {
		return err
	}
	socket, err := cri.Listen(ctx, o.Listen)
	if err != nil {
		return errors.Join(err, server.Stop(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }() // waited for below
	log.Info("agent is serving", "socket", o.Listen, "state_dir", o.StateDir, "took", time.Since(start))
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

func (o agentOptions) network(log *slog.Logger) (*network.Network, error) {
	subnets, err := o.subnets()
	if err != nil {
		return nil, err
	}
	mode := network.Mode(o.Network)
	if o.Network == "auto" {
		mode = network.Auto
	}
	return network.New(network.Config{
		Mode: mode, CNIConfDir: o.CNIConfDir, CNIBinDirs: o.CNIBinDirs, StateDir: filepath.Join(o.StateDir, "network"),
		Bridge: o.Bridge, Subnets: subnets, Log: log,
	})
}

func openEngine(ctx context.Context, o agentOptions, bins setup.Programs, nets *network.Network, log *slog.Logger) (*runtime.Engine, *image.Store, error) {
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		return nil, nil, fmt.Errorf("%w; mount the cgroup file systems first", err)
	}
	policy := o.sources().Trust(log)
	// One that is of no use is in the log now. The agent serves all the same: pods go on,
	// and a mended one counts from the next pull or start on.
	_ = policy.Err()
	options := o.sources().Store(log, policy)
	images := setup.NewImages(filepath.Join(o.StateDir, "images"), func() image.Options { return options })
	engine, err := runtime.Open(ctx, runtime.Config{
		StateDir: o.StateDir, RunDir: o.RunDir, InstanceBinary: bins.Instance, ActionBinary: bins.Action,
		Images: images, Trust: policy, Cgroups: groups, CgroupParent: o.CgroupParent, Network: nets, Log: log,
	})
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

func hasAppArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(text), "Y")
}

func hasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// notifyReady tells systemd, if it started us, that we serve.
func notifyReady(ctx context.Context, log *slog.Logger) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", path)
	if err == nil {
		_, err = conn.Write([]byte("READY=1"))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		log.Warn("systemd was not told that the agent is ready", "error", err)
	}
}
