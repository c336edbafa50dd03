package image

import (
	"context"
	"errors"
)

// Keep marks an image that must never be collected, or ends that.
func (s *Store) Keep(ctx context.Context, ref string, keep bool) error {
	return errors.New("not there yet")
}

// Prune removes the images that no owner has pinned and nobody keeps, and
// returns them. Files in place stay known: they take no room.
func (s *Store) Prune(ctx context.Context) ([]Image, error) {
	return nil, errors.New("not there yet")
}

// Collect removes layers that no image has, stale partial downloads and what was
// left behind, and returns how many bytes that freed.
func (s *Store) Collect(ctx context.Context) (int64, error) {
	return 0, errors.New("not there yet")
}

// Fresh is the image that ref names now: the stored one if the registry still
// says so, else it is pulled. If the registry can't be reached the stored one
// must do, with a warning.
func (s *Store) Fresh(ctx context.Context, ref string, o PullOptions) (Image, error) {
	return s.Pull(ctx, ref, o)
}
