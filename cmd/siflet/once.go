package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/linux"
)

// inImage runs an action in an image, with no instance, and ends as it does.
// It opens no engine and looks at no store unless the image is named by its tag.
func (w *workshop) inImage(ctx context.Context, o *actionOptions, verb, ref string, args []string) error {
	img, err := w.findImage(ctx, ref)
	if err != nil {
		return err
	}
	if err := o.allowImage(&img); err != nil {
		return err
	}
	if verb == action.Test && withoutScripts(img) {
		info(w.stderr, "%s", noTestScript)
		return nil
	}
	p, err := here()
	if err != nil {
		return err
	}
	spec, err := o.container(imageName(img), p, o.pid)
	if err != nil {
		return err
	}
	if err := o.write(&spec, &img); err != nil {
		return err
	}
	o.gpus(ctx, w.stderr, &spec)
	if spec.Action, err = o.encodedRequest(ctx, w.stderr, verb, args, subject{image: imageName(img)}); err != nil {
		return err
	}
	if err := o.plainProcess(ctx, &spec, verb, args, img, subject{image: imageName(img)}); err != nil {
		return err
	}
	cfg, err := w.onceConfig(o)
	if err != nil {
		return err
	}
	cfg.Image = img
	if err := w.onceResources(ctx, &cfg, o, spec.Resources != nil); err != nil {
		return err
	}
	told, signals, stop := passSignals(ctx)
	defer stop()
	cfg.Signals, cfg.Started, cfg.Forked = signals.out, signals.start, signals.forked
	exit, err := runtime.RunOnce(told, cfg, spec, runtime.Namespaces{
		Network: own(o.net), IPC: own(o.ipc), UTS: own(o.uts), PID: own(o.pid),
	})
	settled(ctx, &spec)
	if status := (statusError{}); err != nil && errors.As(context.Cause(told), &status) {
		return status
	}
	if err != nil {
		return err
	}
	return ended(exit)
}

func (w *workshop) onceConfig(o *actionOptions) (runtime.OnceConfig, error) {
	bins, err := setup.Programs{}.Complete()
	if err != nil {
		return runtime.OnceConfig{}, err
	}
	cfg := runtime.OnceConfig{
		InstanceBinary: bins.Instance, ActionBinary: bins.Action, Hostname: o.hostname, NoInit: o.noInit,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, BuiltInNetwork: true, Trust: w.trust(), CDIDirs: o.cdiDirs,
	}
	if cfg.Unprivileged, err = o.way(w.stderr); err != nil {
		return cfg, err
	}
	cfg.Ports, err = o.ports()
	return cfg, err
}

// onceResources adds what limits and a network take.
func (w *workshop) onceResources(ctx context.Context, cfg *runtime.OnceConfig, o *actionOptions, limits bool) error {
	attach := o.attaches()
	if !limits && !attach {
		return nil
	}
	r, err := callerRoots()
	if err != nil {
		return err
	}
	cfg.Dir = filepath.Join(r.run, "once")
	if err := r.makeRun(); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	if limits {
		if cfg.Cgroups, err = cgroups.New(cgroups.Config{Unprivileged: !linux.IsRoot()}); err != nil {
			return err
		}
		if cfg.CgroupParent, err = limited(ctx, cfg.Cgroups); err != nil {
			return err
		}
	}
	switch {
	case attach && cfg.Unprivileged != nil:
		cfg.UserNetwork = true
		cfg.NetworkLost = func(why string) { warn(w.stderr, "the network has ended: %s", why) }
	case attach:
		cfg.Network, err = network.New(network.Config{StateDir: filepath.Join(r.state, "network"), Log: w.logger()})
	}
	return err
}
