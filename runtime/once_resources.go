package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
)

const ownerPrefix = "once-"

// claim makes the file that says that the run goes on and what it has, if it
// has anything that could outlive it, and takes away what others left who were
// killed.
func (o *once) claim(ctx context.Context) error {
	if o.cfg.Cgroups == nil && o.cfg.Network == nil {
		return nil
	}
	stale, err := filepath.Glob(filepath.Join(o.cfg.Dir, ownerPrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range stale {
		// What can't be taken away now is tried again by the next.
		_ = o.sweep(ctx, path)
	}
	path := filepath.Join(o.cfg.Dir, ownerPrefix+o.id)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	o.owner = f
	if _, err := linux.TryLock(f); err != nil && !errors.Is(err, linux.ErrNoLocks) {
		return err
	}
	has := ownerRecord{}
	if o.cfg.Cgroups != nil {
		has.Group = filepath.Join("/", o.cfg.CgroupParent, "siflet-"+o.id)
	}
	has.Network = o.cfg.Network != nil
	return json.NewEncoder(f).Encode(has)
}

// ownerRecord is what a run has that could outlive it.
type ownerRecord struct {
	Group   string `json:"group,omitempty"`
	Network bool   `json:"network,omitempty"`
}

// sweep takes away what the run of an owner file left, if it is no more.
func (o *once) sweep(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return missing(err)
	}
	defer f.Close() //nolint:errcheck // read only
	if gone, err := linux.TryLock(f); err != nil || !gone {
		return err
	}
	const longest = 4 << 10
	text, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return err
	}
	var has ownerRecord
	if len(text) > 0 { // else it was killed before it had anything
		if err := json.Unmarshal(text, &has); err != nil {
			return err
		}
	}
	if has.Network && o.cfg.Network == nil || has.Group != "" && o.cfg.Cgroups == nil {
		return nil // that is for a run that has the means
	}
	if has.Network {
		r := o.request(strings.TrimPrefix(filepath.Base(path), ownerPrefix))
		err = errors.Join(o.cfg.Network.Detach(ctx, *r, network.Result{}), network.Unpin(r.Netns))
	}
	if has.Group != "" {
		group := o.cfg.Cgroups.Load(has.Group)
		err = errors.Join(err, group.Kill(ctx), group.Delete(ctx))
	}
	if err != nil {
		return err
	}
	return missing(os.Remove(path))
}

// request is the same for attaching and detaching.
func (o *once) request(id string) *network.Request {
	return &network.Request{
		ID: "siflet-" + id, Netns: o.cfg.Network.PinPath("siflet-" + id), Owner: filepath.Join(o.cfg.Dir, ownerPrefix+id),
		Name: "once", BuiltIn: o.cfg.BuiltInNetwork,
	}
}

func (o *once) makeGroup(p *planned) (err error) {
	if o.cfg.Cgroups == nil {
		return nil
	}
	o.group, err = makeGroup(o.cfg.Cgroups, o.cfg.CgroupParent, "siflet-"+o.id, p.resources)
	if err != nil {
		return err
	}
	return roomToStart(o.cfg.Cgroups, &p.program.Process, false, filepath.Join("/", o.cfg.CgroupParent, "siflet-"+o.id))
}

func (o *once) attach(ctx context.Context, thread int) error {
	o.net = o.request(o.id)
	o.net.Ports = o.cfg.Ports
	if o.cfg.DNS != nil {
		o.net.DNS = *o.cfg.DNS
	}
	if err := network.Pin(thread, o.net.Netns); err != nil {
		return err
	}
	var err error
	o.res, err = o.cfg.Network.Attach(ctx, *o.net)
	return err
}

func (o *once) undo(ctx context.Context) error {
	var errs error
	if o.hook != nil {
		errs = os.RemoveAll(o.hook.dir)
	}
	errs = errors.Join(errs, o.detachUser()) //nolint:contextcheck // it has a time of its own
	if o.net != nil {
		errs = errors.Join(errs, o.cfg.Network.Detach(ctx, *o.net, o.res), network.Unpin(o.net.Netns))
	}
	if o.group != nil {
		errs = errors.Join(errs, o.group.Kill(ctx), o.group.Delete(ctx))
		o.cfg.Cgroups.RemoveParent(o.cfg.CgroupParent)
	}
	if o.owner != nil {
		if errs == nil {
			errs = os.Remove(o.owner.Name())
		}
		errs = errors.Join(errs, o.owner.Close())
	}
	return errs
}
