package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

// write makes what the container changes stay in the image, if --writable asks for that.
// Nothing is made in there for this machine's directories to be mounted on.
func (o *actionOptions) write(spec *runtime.ContainerSpec, img *image.Image) error {
	if !o.writable {
		return nil
	}
	if own := ownOverlay(img); own != nil {
		if err := mountable(*own); err != nil {
			return fmt.Errorf("--writable: %w", err)
		}
		if err := unsigned(*own); err != nil {
			return fmt.Errorf("--writable: %w", err)
		}
		spec.Upper, spec.OverlayImage, spec.Security.ReadonlyRoot = runtime.UpperImage, own, false
		return nil
	}
	if !img.IsSandbox() {
		return fmt.Errorf("--writable: image %s can't be written to; use --writable-tmpfs or --overlay, or make a directory of it first: "+
			"siflet build --sandbox DIRECTORY %s; or give a SIF file room for changes: siflet overlay create %s",
			imageName(*img), imageName(*img), imageName(*img))
	}
	root, err := os.OpenRoot(img.Path)
	if err != nil {
		return fmt.Errorf("--writable: %w", err)
	}
	defer root.Close() //nolint:errcheck // read only
	spec.Upper, spec.Security.ReadonlyRoot = runtime.UpperSelf, false
	missing := func(target string) bool {
		_, err := root.Lstat(strings.TrimPrefix(target, "/"))
		return err != nil
	}
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m runtime.Mount) bool { return m.Optional && missing(m.Target) })
	return nil
}
