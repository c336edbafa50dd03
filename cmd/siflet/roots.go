package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

// roots are the directories of one owner's instances.
type roots struct{ state, run, logs string }

// agentRoots are those of the node agent, as its own flags name them.
func agentRoots(state, run string) roots { return roots{state: state, run: run} }

// callerRoots are those of the user who calls. Records are per host, so that a
// home directory shared by many hosts keeps them apart.
func callerRoots() (roots, error) {
	who, err := user.Current()
	if err != nil {
		return roots{}, fmt.Errorf("find the current user: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return roots{}, fmt.Errorf("find the host name: %w", err)
	}
	base := os.Getenv("SIFLET_CONFIGDIR")
	if base == "" {
		base = filepath.Join(who.HomeDir, ".siflet")
	}
	if !filepath.IsAbs(base) {
		return roots{}, usageError{text: "SIFLET_CONFIGDIR must be an absolute path"}
	}
	return roots{
		state: filepath.Join(base, "hosts", host),
		run:   filepath.Join("/run", "siflet-"+who.Uid),
		logs:  filepath.Join(base, "logs", host, who.Username),
	}, nil
}

// workshop holds what commands need of the machine, made when first used.
type workshop struct {
	stderr io.Writer
	bins   binaries
}

// open opens the engine on the caller's own roots. Whoever calls it closes it;
// instances go on.
func (w *workshop) open(ctx context.Context, r roots) (*runtime.Engine, error) {
	images, err := image.Open(filepath.Join(r.state, "images"))
	if err != nil {
		return nil, err
	}
	groups, err := cgroups.New(cgroups.Config{})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	net, err := network.New(network.Config{
		StateDir: filepath.Join(r.state, "network"), PinDir: "/run/netns", LeaseDir: "/run/siflet-net",
		Bridge: "siflet0", Log: log,
	})
	if err != nil {
		return nil, err
	}
	return runtime.Open(ctx, runtime.Config{
		StateDir: r.state, RunDir: r.run,
		InstanceBinary: w.bins.instance, ActionBinary: w.bins.action,
		Images: images, Cgroups: groups, CgroupParent: "/siflet", Network: net, Log: log,
	})
}
