package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/convert"
	"github.com/siflet/siflet/runtime/source"
)

// vacant says whether something may be written to output. What is no file is nobody's to
// replace: of a device or a pipe others expect that it is there and what it is.
func (o *pullOptions) vacant(output string) error {
	info, err := os.Lstat(output)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", output, unwrapPath(err))
	case info.IsDir():
		return fmt.Errorf("write %s: it is a directory; name a file, or use --dir %s", output, output)
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("write %s: it is %s, which an image can't replace; name a file", output, kindOf(info.Mode()))
	case !o.force:
		return fmt.Errorf("image file already exists: %q; name another, or replace it with --force", output)
	default:
		return nil
	}
}

// kindOf is what else than a file or a directory there may be.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "no regular file"
	}
}

// noRoom says why nothing can be made beside output.
func noRoom(err error, output string) error {
	dir := filepath.Dir(output)
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", output, unwrapPath(err))
	}
	// /proc is there, and says of what one would make in it that it isn't.
	if _, there := os.Stat(dir); there == nil {
		return fmt.Errorf("write %s: can't make files in %s", output, dir)
	}
	return fmt.Errorf("write %s: there is no directory %s; make it first: mkdir -p %s", output, dir, dir)
}

// writer writes an image to path.
type writer func(ctx context.Context, image *source.Image, path string, o convert.Options) error

// form is what an image becomes: what was asked for or, if nothing was, what it can be.
func (o *pullOptions) form(stderr io.Writer, image *source.Image) (writer, error) {
	switch {
	case o.oci:
		return convert.OCISIF, nil
	case !convert.HasFileSystems(image):
		return convert.Flat, nil
	case o.noOCI:
		return nil, fmt.Errorf("%w: its layers are file systems already, which can't be merged into a flat SIF file; "+
			"leave out --no-oci, for an OCI-SIF that keeps them", source.ErrUnsupported)
	default:
		info(stderr, "the image's layers are file systems already: writing an OCI-SIF, which keeps them")
		return convert.OCISIF, nil
	}
}
