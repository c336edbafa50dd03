package image

import (
	"context"
	"errors"
	"fmt"
)

// Keep marks an image that must never be collected, or ends that: Prune leaves
// it, and CRI calls it pinned. Who names it can remove it all the same.
func (s *Store) Keep(ctx context.Context, ref string, keep bool) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	found, err := s.named(ref)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &kindError{ErrNotFound, fmt.Errorf("image %q: not found", ref)}
	}
	for _, e := range found {
		if e.Kept != keep {
			e.Kept = keep
			err = errors.Join(err, s.saveOrForget(e))
		}
	}
	return err
}

// Prune removes the images that no owner has pinned and nobody keeps, and
// returns them. Files in place stay known: they take no room.
func (s *Store) Prune(ctx context.Context) ([]Image, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var pruned []Image
	for _, e := range s.records() {
		if e.InPlace || e.Kept || s.pinned(e.ID) {
			continue
		}
		image, lookErr := s.image(e)
		if lookErr != nil {
			// Damaged, so nothing but the record says what it was.
			image = Image{ID: e.ID, CreatedAt: e.UpdatedAt}
			e.describe(&image)
		}
		gone, forgetErr := s.forget(e.key())
		err = errors.Join(err, forgetErr)
		if gone {
			pruned = append(pruned, image)
		}
	}
	return pruned, err
}

// Collect removes layers that no image has, stale partial downloads and what was
// left behind, and returns how many bytes that freed.
func (s *Store) Collect(ctx context.Context) (int64, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	freed, err := s.clean()
	if err != nil {
		err = fmt.Errorf("collect images: %w", err)
	}
	return freed, err
}
