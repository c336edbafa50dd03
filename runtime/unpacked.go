package runtime

import (
	"context"
	"errors"
	"slices"

	"github.com/siflet/siflet/runtime/program"
)

// Unpacked are file systems in directories, which are there until Release and until nobody
// has the lock any more that a launch stage sends: see program.HoldMark. To wait is to see
// them gone.
type Unpacked struct {
	Dirs    []string
	Release func(wait bool) error
}

// unpack has a plan use directories instead of squashfs file systems where nothing can serve
// those. It is nil if there is nothing to be released.
func (u *Unprivileged) unpack(ctx context.Context, p *planned) (*Unpacked, error) {
	if u == nil || u.Unpack == nil {
		return nil, nil //nolint:nilnil // nothing to do
	}
	// They may be those of a record.
	p.program.Root.Extents = slices.Clone(p.program.Root.Extents)
	p.program.Mounts = slices.Clone(p.program.Mounts)
	lists := [][]program.Extent{p.program.Root.Extents}
	for i := range p.program.Mounts {
		m := &p.program.Mounts[i]
		m.Image = slices.Clone(m.Image)
		lists = append(lists, m.Image)
	}
	var all []program.Extent
	for _, e := range slices.Concat(lists...) {
		if e.FS == "squashfs" && !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil, nil //nolint:nilnil // nothing to do
	}
	unpacked, err := u.Unpack(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		for i := range list {
			if n := slices.Index(all, list[i]); n >= 0 {
				list[i] = program.Extent{Path: unpacked.Dirs[n], FS: program.Unpacked}
			}
		}
	}
	if p.text, err = encode(p.program); err != nil {
		return nil, errors.Join(err, unpacked.Release(true))
	}
	return unpacked, nil
}

// unpackForStart is unpack for a container with a supervisor, which holds the directories
// when done is called. The context has the start's time: what came before was not its own.
func (u *Unprivileged) unpackForStart(ctx context.Context, p *planned) (_ context.Context, done func(), err error) {
	unpacked, err := u.unpack(ctx, p)
	if unpacked == nil {
		return ctx, func() {}, err
	}
	ctx, cancel := detached(ctx)
	return ctx, func() {
		cancel()
		_ = unpacked.Release(false) // what could not be removed is by the next
	}, err
}
