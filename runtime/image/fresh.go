package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
)

// freshWait bounds how long Fresh waits for a registry that it could do without.
const freshWait = 30 * time.Second

// Fresh is the image that ref names now: the stored one if the registry still
// says so, else it is pulled. If the registry can't be reached the stored one
// must do, with a warning. A name with a digest never means anything else.
func (s *Store) Fresh(ctx context.Context, ref string, o PullOptions) (Image, error) {
	if err := s.trusting(ref); err != nil {
		return Image{}, err
	}
	if _, isPath, err := asPath(ref); isPath || err != nil || isID(ref) || isArchive(ref) {
		return s.Pull(ctx, ref, o)
	}
	e, ok := s.byName(ref)
	if !ok {
		return s.Pull(ctx, ref, o)
	}
	stored, err := s.image(e)
	if err != nil {
		return s.Pull(ctx, ref, o) // makes it whole
	}
	if importedAs(ref, e.Digests) {
		return stored, nil // imported: no registry knows of it
	}
	fresh, err := s.unchanged(ctx, ref, e, o)
	if err == nil && !fresh {
		stored, err = s.Pull(ctx, ref, o)
	}
	if err != nil && ctx.Err() == nil && (errors.Is(err, registry.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		s.log.Warn("an image can't be compared with its source, so the stored one is used", "image", ref, "error", err)
		return s.image(e)
	}
	return stored, err
}

// unchanged asks the registry whether a name still means the image.
func (s *Store) unchanged(ctx context.Context, ref string, e entry, o PullOptions) (bool, error) {
	parsed, err := parseName(ref)
	if _, named := inRegistry(ref); !named || err != nil || s.options.Registry == nil {
		return false, nil
	}
	if parsed.Digest != "" {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	d, err := s.options.Registry.Digest(ctx, parsed, o.Auth)
	if err != nil {
		return false, withKind(fmt.Errorf("image %s: %w", source.Shown(ref), err))
	}
	return slices.Contains(e.Digests, parsed.Name()+"@"+known(d.Digest)), nil
}
