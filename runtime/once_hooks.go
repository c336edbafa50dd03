package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
)

// bundle is where hooks look. It is made for them alone.
func (o *once) bundle() string {
	dir := o.cfg.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "siflet-bundle-"+o.id)
}

// hooks gets ready to run the hooks of a run: the descriptor is for its launch stage,
// and the function waits for those that run before its process.
func (o *once) hooks(ctx context.Context, p *planned) (linux.FD, func() error, error) {
	none := func() error { return nil }
	if p.spec.Hooks == nil {
		return linux.NoFD, none, nil
	}
	o.hook = &hookRun{hooks: p.spec.Hooks, dir: o.bundle()}
	var err error
	if o.hook.state, err = hookState(o.id, o.hook.dir, nil); err != nil {
		return linux.NoFD, none, err
	}
	if err := makeBundle(o.hook.dir, p.spec); err != nil {
		return linux.NoFD, none, err
	}
	theirs, wait, err := o.hook.answer(ctx)
	if theirs == nil || err != nil {
		return linux.NoFD, none, err
	}
	defer theirs.Close() //nolint:errcheck // there is another
	fd, err := linux.FD(theirs.Fd()).Dup()
	return fd, wait, err
}

func (o *once) afterStart(ctx context.Context, pid int) error {
	if o.hook == nil {
		return nil
	}
	return o.hook.run(ctx, "poststart", specs.StateRunning, pid, o.hook.hooks.Poststart)
}

// afterEnd runs the poststop hooks and takes the bundle away.
func (o *once) afterEnd(ctx context.Context) {
	if o.hook == nil {
		return
	}
	late, cancel := detached(ctx)
	defer cancel()
	list := o.hook.hooks.Poststop
	for n := range list {
		if err := o.hook.run(late, "poststop", specs.StateStopped, 0, list[n:n+1]); err != nil {
			if o.cfg.Stderr != nil {
				_, _ = fmt.Fprintln(o.cfg.Stderr, "siflet: when the container had ended:", err) // nobody is left to be told
			}
		}
	}
}
