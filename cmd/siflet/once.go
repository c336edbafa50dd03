package main

import (
	"context"
	"errors"
)

// inImage runs an action in an image, with no instance.
func (w *workshop) inImage(ctx context.Context, o *actionOptions, verb, path string, args []string) error {
	return errors.New("not yet")
}
