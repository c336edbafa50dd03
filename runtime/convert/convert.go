// Package convert writes images as SIF files for others to run: flat ones for
// Singularity and Apptainer, and OCI-SIFs with a squashfs per layer. The same
// source gives the same bytes.
package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/squashfs"
)

// Options of a conversion. The zero value works.
type Options struct {
	// Progress, if not nil, hears of the bytes read of all layers.
	Progress func(done, total int64)
	// Spool is a directory for temporary files; empty is that of the output.
	Spool string
	// Lost, if not nil, is where what could not be kept is counted.
	Lost *Lost
	// Workers compress; zero is one per CPU. They don't change what is written.
	Workers int
}

// Media types of layers that are file systems already.
const (
	layerSquashfs = "application/vnd.sylabs.image.layer.v1.squashfs"
	layerExt3     = "application/vnd.sylabs.image.layer.v1.ext3"
)

func isFileSystem(d v1.Descriptor) bool {
	return d.MediaType == layerSquashfs || d.MediaType == layerExt3
}

// HasFileSystems says that a layer of the image is a file system already. Such an image
// can be an OCI-SIF, and not a flat SIF.
func HasFileSystems(image *source.Image) bool {
	return slices.ContainsFunc(image.Layers, func(l source.Layer) bool { return isFileSystem(l.Descriptor) })
}

// Flat writes the image as one gzip squashfs with /.singularity.d, oci-config.json
// and a runscript made of its entry point. An image that is a SIF is copied as it is.
// path appears complete or not at all.
func Flat(ctx context.Context, image *source.Image, path string, o Options) error {
	c := &conversion{image: image, options: o.complete(path)}
	if image.SIF != nil {
		return c.copySIF(ctx, path)
	}
	for i, l := range image.Layers {
		if isFileSystem(l.Descriptor) {
			return c.inLayer(i, fmt.Errorf("%w: it is a file system already (%s), which can't be merged with others; "+
				"write an OCI-SIF (--oci)", source.ErrUnsupported, l.MediaType))
		}
	}
	config, err := parseConfig(image.Config)
	if err != nil {
		return err
	}
	root := newMetadata(image, config)
	objects, err := root.objects()
	if err != nil {
		return err
	}
	return c.create(path, append(objects, sif.Object{
		Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: config.Architecture,
		Fill: func(w io.WriterAt) (int64, error) { return c.merge(ctx, w, root) },
	}))
}

// create writes the file. What goes wrong in making an object is what is to be said:
// nobody asked for objects.
func (c *conversion) create(path string, objects []sif.Object) error {
	var failed error
	for i, o := range objects {
		if o.Fill == nil {
			continue
		}
		objects[i].Fill = func(w io.WriterAt) (n int64, err error) {
			n, err = o.Fill(w)
			failed = err
			return n, err
		}
	}
	err := sif.Create(path, sif.Options{Deterministic: true, Objects: objects})
	if failed != nil {
		return failed
	}
	return err
}

// conversion is the work on one image.
type conversion struct {
	image   *source.Image
	options Options
	// read counts the bytes read of all blobs.
	read int64
}

// complete fills in what the zero value leaves open.
func (o Options) complete(path string) Options {
	if o.Spool == "" {
		o.Spool = filepath.Dir(path)
	}
	return o
}

func (c *conversion) copySIF(ctx context.Context, path string) error {
	blob, err := c.open(ctx, *c.image.SIF)
	if err != nil {
		return err
	}
	err = sif.Copy(path, blob)
	return errors.Join(err, blob.Close())
}

// merge writes the root file system: the layers from the highest to the lowest,
// then what Singularity wants to find.
func (c *conversion) merge(ctx context.Context, w io.WriterAt, root metadata) (int64, error) {
	// gzip is what every reader knows. Its highest level takes five times as long as
	// the default for three per cent less.
	o := squashfs.Options{Compression: squashfs.Gzip, Workers: c.options.Workers, Time: root.time}
	fs, err := squashfs.New(ctx, w, o)
	if err != nil {
		return 0, err
	}
	flat := layer.NewFlat(fs, c.options.Spool, layer.Options{Squashfs: o})
	for i := range slices.Backward(c.image.Layers) {
		err := c.layer(ctx, i, func(blob io.Reader, mediaType string) (layer.Result, error) {
			return flat.Add(ctx, blob, mediaType)
		})
		if err != nil {
			fs.Abort()
			return 0, err
		}
	}
	if err := root.add(fs); err != nil {
		fs.Abort()
		return 0, fmt.Errorf("add what Singularity needs: %w", err)
	}
	return fs.Close()
}

// layer has a layer converted and checks that it is the one the config names.
func (c *conversion) layer(ctx context.Context, i int, convert func(io.Reader, string) (layer.Result, error)) error {
	l := c.image.Layers[i]
	blob, err := c.open(ctx, l.Descriptor)
	if err != nil {
		return c.inLayer(i, err)
	}
	result, err := convert(blob, string(l.MediaType))
	if err := errors.Join(err, blob.Close()); err != nil {
		return c.inLayer(i, err)
	}
	if want := l.DiffID; want != (v1.Hash{}) && result.DiffID != want.String() {
		return c.inLayer(i, fmt.Errorf("%w: its content is %s, not %s as the config says", layer.ErrCorrupt, result.DiffID, want))
	}
	c.options.Lost.add(result.Lost)
	return nil
}

// inLayer says which layer, counted from one, an error is about.
func (c *conversion) inLayer(i int, err error) error {
	return fmt.Errorf("layer %d: %w", i+1, err)
}

// open opens a blob whose reading is counted and ends with ctx.
func (c *conversion) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	blob, err := c.image.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	total := d.Size
	if c.image.SIF == nil {
		total = 0
		for _, l := range c.image.Layers {
			total += l.Size
		}
	}
	return &counted{ReadCloser: blob, read: func(n int) error {
		c.read += int64(n)
		if c.options.Progress != nil && n > 0 {
			c.options.Progress(c.read, total)
		}
		return ctx.Err()
	}}, nil
}

// counted tells how much was read.
type counted struct {
	io.ReadCloser
	read func(n int) error
}

// Read ends with the error of whoever counts.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if stop := c.read(n); stop != nil {
		return n, stop
	}
	return n, err
}
