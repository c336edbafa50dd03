// Package runtime is the engine: it makes instances and containers, knows
// them, stops them, and takes them all away again.
//
// It decides and records; images, networks, cgroups and processes are the work
// of the packages below it. It refuses to know CRI or the command line. It alone
// writes <state>/instances (except exit.json, which is the supervisor's) and
// <run>/instances (except control.sock).
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/selinux"
)

// Config is what an engine works with.
type Config struct {
	// StateDir and RunDir are the two roots; see ARCHITECTURE.md.
	StateDir, RunDir string
	// InstanceBinary and ActionBinary are siflet-instance and siflet-action.
	InstanceBinary, ActionBinary string
	Images                       Images
	// ImageDirs are where archives of checkpoints must be; nil is anywhere. Images keeps to
	// them by itself.
	ImageDirs *image.Dirs
	// RefuseExt3 refuses images with an ext3 file system: what they hold is none of
	// the kernel's business then. The kernel's driver for those takes a file system to be
	// what its own tools made.
	RefuseExt3 bool
	// Trust is asked whether an image may run when a container is created and
	// each time one starts; nil lets every image run.
	Trust Trust
	// Plugins are asked and told about what happens here; nil is none.
	Plugins Plugins
	// Observer hears of what takes time and of what ends; nil is none.
	Observer Observer
	Cgroups  *cgroups.Manager
	// CgroupParent is where instances go that name no parent; it is made.
	CgroupParent string // /siflet; siflet.slice where systemd owns the tree
	Network      *network.Network
	// Criu is the program that saves and restores processes; empty: criu in $PATH.
	Criu string
	// RestoreImages lets containers go on from images that are checkpoints. criu makes
	// processes as they were, with all rights that the image says they had: whoever makes
	// such an image is root on the node.
	RestoreImages bool
	// SELinux labels instances and containers; the kernel must run it.
	SELinux bool
	// SELinuxCategories is of how many categories levels are made; 0 is 1024.
	SELinuxCategories int
	Log               *slog.Logger // discards
	// BootID is the kernel's, unless a test sets another.
	BootID string
	// CDIDirs are where files describe devices; none are /etc/cdi and /var/run/cdi.
	CDIDirs []string
	// LockWait is how long Open waits for another process to leave the root;
	// zero is not at all.
	LockWait time.Duration
	// ExecDrain is how long the output of a command's background processes is
	// waited for when the command itself has ended; 0 is a second, less is not
	// at all.
	ExecDrain time.Duration
	// KeepRun makes anew at once what is removed of RunDir. It is for an engine that lives long.
	KeepRun bool
	// Unprivileged is how to do without root's privileges; nil is with them.
	Unprivileged *Unprivileged
}

// Engine owns the writes below its roots. It is safe for concurrent use.
type Engine struct {
	view

	lock   *os.File
	binary *os.File // siflet-instance, out of reach of containers
	hidden hiddenBinary
	events events
	warm   warmth
	labels *selinux.Labeller
	stop   context.CancelFunc
	life   lifetime
	// mapping tells, having tried once, whether user namespaces work here.
	mapping func() error

	owners sync.WaitGroup // of goroutines
}

// lifetime ends when the engine is closed.
type lifetime struct{ done <-chan struct{} }

func (l lifetime) open() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// ctx is a context that ends when the engine is closed.
func (l lifetime) ctx() context.Context { return lifeContext{context.Background(), l.done} }

type lifeContext struct {
	context.Context //nolint:containedctx // the background context, for the other methods

	done <-chan struct{}
}

func (c lifeContext) Done() <-chan struct{} { return c.done }

func (c lifeContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// Open takes the root lock and adopts what a former engine left: it takes up
// what runs, finishes what was going away and undoes what was half made. If
// another process has the root the error is ErrBusy and names it. Close the
// engine when done.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if err := makeRoots(cfg); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	lock, err := lockRoots(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("open engine on %s: %w", cfg.StateDir, err)
	}
	labels, err := selinux.New(cfg.SELinux, cfg.SELinuxCategories)
	if err != nil {
		return nil, errors.Join(as(ErrInvalid, err), lock.Close())
	}
	life, stop := context.WithCancel(context.Background())
	e := &Engine{lock: lock, stop: stop, life: lifetime{life.Done()}, warm: warmth{log: cfg.Log}, labels: labels, mapping: sync.OnceValue(probeMapping)}
	e.init(cfg)
	if e.binary, err = cfg.Unprivileged.openBinary(cfg.InstanceBinary); err != nil {
		return nil, errors.Join(fmt.Errorf("open siflet-instance: %w", err), e.Close())
	}
	if cfg.Cgroups != nil {
		if err := cfg.Cgroups.EnsureParent(cfg.CgroupParent); err != nil {
			return nil, errors.Join(classify(err), e.Close())
		}
	}
	if err := e.adopt(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open engine: %w", err), e.Close())
	}
	if cfg.KeepRun {
		e.background(e.keepRun)
	}
	return e, nil
}

// Close gives the root back. Instances keep running. Operations under way are
// finished or undone first. If there are no instances, what served them all goes
// too: the parent of their cgroups and the built-in bridge, unless others use them.
func (e *Engine) Close() error {
	e.stop()
	for _, i := range e.all() {
		i.mu.Lock()
		w := i.watch
		i.mu.Unlock()
		w.close()
	}
	e.owners.Wait()
	e.walks.end()
	e.events.close()
	e.warm.close()
	if err := e.retire(); err != nil {
		e.cfg.Log.Warn("the network of the last instance is still there", "error", err)
	}
	e.hidden.close()
	if e.binary != nil {
		_ = e.binary.Close() // opened to be executed only
	}
	return e.lock.Close()
}

func (c Config) complete() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CgroupParent == "" {
		c.CgroupParent = "/siflet"
		if c.Cgroups != nil && c.Cgroups.Systemd() {
			c.CgroupParent = "siflet.slice"
		}
	}
	if c.BootID == "" {
		text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return c, fmt.Errorf("read boot ID: %w", err)
		}
		c.BootID = strings.TrimSpace(string(text))
	}
	for _, dir := range []string{c.StateDir, c.RunDir} {
		if !filepath.IsAbs(dir) {
			return c, errorf(ErrInvalid, "root %q is not an absolute path", dir)
		}
	}
	return c, nil
}

// makeRoots makes the directories. Others may go through the roots, to the
// socket, but not to the instances: a program that a container made set-user-ID
// in its writable layer must not be within reach of a user of the machine.
func makeRoots(cfg Config) error {
	for _, root := range []string{cfg.StateDir, cfg.RunDir} {
		if err := makeRoot(root); err != nil {
			return err
		}
	}
	return nil
}

func makeRoot(root string) error {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return err
	}
	instances := filepath.Join(root, "instances")
	// Only a hint, and one for ext4: before what it is about is made.
	_ = linux.Spread(root)
	if err := os.MkdirAll(instances, 0o700); err != nil {
		return err
	}
	_ = linux.Spread(instances)
	err := os.Chmod(instances, 0o700) // it may be there already
	if errors.Is(err, linux.EROFS) {
		return nil // and is as it was left: what can't be written can be looked after
	}
	return err
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// detached is a context for what must go on when the caller leaves, within
// bounds.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
}

// background runs f on a goroutine that Close waits for.
func (e *Engine) background(f func()) { e.owners.Go(f) }

func (e *Engine) retire() error {
	if len(e.all()) > 0 {
		return nil
	}
	if e.cfg.Cgroups != nil {
		e.cfg.Cgroups.RemoveParent(e.cfg.CgroupParent)
	}
	if e.cfg.Network == nil {
		return nil
	}
	ctx, cancel := detached(context.Background())
	defer cancel()
	return e.cfg.Network.Retire(ctx)
}
