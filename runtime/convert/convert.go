// Package convert writes images as SIF files for others to run: flat ones for
// Singularity and Apptainer, and OCI-SIFs with a squashfs per layer. The same
// source gives the same bytes.
package convert

import (
	"context"
	"errors"

	"github.com/siflet/siflet/runtime/source"
)

// Options of a conversion. The zero value works.
type Options struct {
	// Progress, if not nil, hears of the bytes read of all layers.
	Progress func(done, total int64)
	// Spool is a directory for temporary files; empty is that of the output.
	Spool string
}

// Flat writes the image as one gzip squashfs with /.singularity.d, oci-config.json
// and a runscript made of its entry point. An image that is a SIF is copied as it is.
// path appears complete or not at all.
func Flat(ctx context.Context, image *source.Image, path string, o Options) error {
	return errors.New("convert: not there yet")
}

// OCISIF writes the image as an OCI-SIF.
func OCISIF(ctx context.Context, image *source.Image, path string, o Options) error {
	return errors.New("convert: not there yet")
}
