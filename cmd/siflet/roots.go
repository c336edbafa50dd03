package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
)

// roots are the directories of one owner's instances.
type roots struct {
	state, run, logs string
	// base is what state and logs are below; user is whose they are.
	base, user string
}

// configDirVar names the directory of the caller's own images and instances.
const configDirVar = "SIFLET_CONFIGDIR"

// callerRoots are those of the user who calls. Records are per host, so that a
// home directory shared by many hosts keeps them apart.
func callerRoots() (roots, error) {
	who, err := caller()
	if err != nil {
		return roots{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return roots{}, fmt.Errorf("find the host name: %w", err)
	}
	base := os.Getenv(configDirVar)
	if base == "" && os.Getenv(notedVar) != "" {
		base = notedBase(who.Uid, who.Username)
	}
	if base == "" {
		base = filepath.Join(who.HomeDir, ".siflet")
	}
	if !filepath.IsAbs(base) {
		return roots{}, usageError{text: configDirVar + " must be an absolute path"}
	}
	r := roots{
		state: filepath.Join(base, "hosts", host), logs: filepath.Join(base, "logs", host, who.Username), base: base, user: who.Username,
	}
	r.findRun(who.Uid, who.Username)
	return r, nil
}

// ownDirHint says what to do about an error that comes of the directory of the caller's
// images and instances.
func ownDirHint(err error) string {
	var failed *fs.PathError
	full := errors.Is(err, linux.ENOSPC) || errors.Is(err, linux.EDQUOT)
	closed := errors.Is(err, fs.ErrPermission) || errors.Is(err, linux.EROFS) || errors.Is(err, linux.ENOTDIR)
	if !errors.As(err, &failed) || !full && !closed {
		return ""
	}
	r, rerr := callerRoots()
	below := func(a, b string) bool { return strings.HasPrefix(a+"/", strings.TrimSuffix(b, "/")+"/") }
	onTheWay := failed.Op == "mkdir" && below(r.base, failed.Path)
	if rerr != nil || !onTheWay && !below(failed.Path, r.base) {
		return ""
	}
	if full {
		return "; set " + configDirVar + " to a directory that has room"
	}
	return "; set " + configDirVar + " to a directory that can be written"
}

// workshop holds what commands need of the machine.
type workshop struct {
	stderr    io.Writer
	agent     roots // of the node agent
	tellBound sync.Once
}

// logger complains to the person who called.
func (w *workshop) logger() *slog.Logger {
	return slog.New(complaints{w: w.stderr})
}

// cgroupParent is where a person's instances go.
func cgroupParent() string { return envOr("SIFLET_CGROUP_PARENT", "/siflet") }

// config is what an engine or a reader on r works with.
func (w *workshop) config(r roots) (runtime.Config, error) {
	if r.user != "" {
		if err := r.checkRun(); err != nil {
			return runtime.Config{}, err
		}
	}
	bins, err := setup.Programs{}.Complete()
	if err != nil {
		return runtime.Config{}, err
	}
	groups, err := cgroups.New(cgroups.Config{Unprivileged: !linux.IsRoot()})
	if err != nil {
		return runtime.Config{}, err
	}
	log := w.logger()
	nets, err := network.New(network.Config{StateDir: filepath.Join(r.state, "network"), Log: log})
	if err != nil {
		return runtime.Config{}, err
	}
	cfg := runtime.Config{
		StateDir: r.state, RunDir: r.run, InstanceBinary: bins.Instance, ActionBinary: bins.Action,
		Cgroups: groups, CgroupParent: cgroupParent(), Network: nets, Log: log, LockWait: 30 * time.Second,
	}
	if !linux.IsRoot() {
		cfg.CgroupParent = cgroups.NoGroups        // unless limits are asked for: see limited
		cfg.Unprivileged = &runtime.Unprivileged{} // enough for all but a start
	}
	return cfg, nil
}

// open opens the engine on the caller's own roots. Whoever calls it closes it;
// instances go on.
func (w *workshop) open(ctx context.Context, r roots, change ...func(*runtime.Config)) (*runtime.Engine, error) {
	cfg, err := w.config(r)
	if err != nil {
		return nil, err
	}
	own := func() image.Options {
		o := w.ownStoreOptions(r)
		o.Sandboxes = true
		return o
	}
	cfg.Images = personalImages{
		own:  setup.NewImages(filepath.Join(r.state, "images"), own),
		node: setup.NewImages(w.imageDir(), w.storeOptions), nodeDir: w.imageDir(), owner: r.state,
	}
	cfg.Trust = w.trust()
	for _, f := range change {
		f(&cfg)
	}
	return runtime.Open(ctx, cfg)
}

// reader opens a view of r that changes nothing.
func (w *workshop) reader(ctx context.Context, r roots) (*runtime.Reader, error) {
	cfg, err := w.config(r)
	if err != nil {
		return nil, err
	}
	return runtime.OpenReader(ctx, cfg)
}
