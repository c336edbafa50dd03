package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/squashfs"
)

// The layers of an OCI-SIF that was pushed to a registry: file systems as they are.
const (
	squashfsLayer = "application/vnd.sylabs.image.layer.v1.squashfs"
	ext3Layer     = "application/vnd.sylabs.image.layer.v1.ext3"
)

// A layer may unpack to this much, and to so many times its size: more than gzip can
// pack. What unpacks to more is there to keep the machine busy.
const (
	unpackedFloor = 8 << 30
	unpackedRatio = 1100
)

// mounted is the file system that a layer is as it is; 0 if it is a tar.
func mounted(l source.Layer) sif.FSType {
	switch l.MediaType {
	case squashfsLayer:
		return sif.FSSquash
	case ext3Layer:
		return sif.FSExt3
	default:
		return 0
	}
}

// layerFile is what the file of a layer is called: the digest of what is in it.
func layerFile(l source.Layer) string {
	if mounted(l) != 0 {
		return l.Digest.Hex
	}
	return l.DiffID.Hex
}

// partition is the one file system in a layer's file.
func partition(path string) (e Extent, err error) {
	f, err := sif.Open(path)
	if err != nil {
		return Extent{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err := f.Image()
	if err != nil {
		return Extent{}, err
	}
	if len(content.Extents) != 1 {
		return Extent{}, fmt.Errorf("%s: %d file systems, want one", path, len(content.Extents))
	}
	x := content.Extents[0]
	return Extent{Path: path, Offset: x.Offset, Size: x.Size, FS: x.FS}, nil
}

// storedAt is the layer in a file of the store, which need not be in its place yet. One
// without what belongs beside it is not there.
func storedAt(path, diffID string) (storedLayer, error) {
	e, err := partition(path)
	if err != nil {
		return storedLayer{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return storedLayer{}, err
	}
	l := storedLayer{
		DiffID: diffID, File: strings.TrimSuffix(filepath.Base(path), sifSuffix), Bytes: info.Size(),
		FS: e.FS, Offset: e.Offset, Size: e.Size,
	}
	summary, err := readSummary(path)
	if err == nil && summary.ACLs > 0 {
		l.ACLs, l.ACLBytes, err = protectedAt(path)
	}
	return l, err
}

// layer makes sure that a layer is in the store or on the bench.
func (s *Store) layer(ctx context.Context, b *bench, from *shared, l source.Layer, progress *share) (storedLayer, error) {
	const tries = 2
	var err error
	for range tries {
		if found, ok := s.found(ctx, b, l); ok {
			progress.skip(max(l.Size, 0))
			return found, nil
		}
		var made storedLayer
		var started bool
		from.retain()
		made, started, err = s.work.layers.do(ctx, l.Digest.String()+" "+layerFile(l), progress,
			func(ctx context.Context, report func(int64)) (storedLayer, error) {
				from.retain()
				made, err := s.makeLayer(ctx, b, from, l, report)
				return made, errors.Join(err, from.release())
			})
		err = errors.Join(err, from.release())
		if err == nil {
			return made, nil
		}
		// What another's source could not give, ours may.
		if started || ctx.Err() != nil {
			break
		}
	}
	return storedLayer{}, err
}

// found is a layer that needn't be fetched: it is in its place, on the bench, or
// left over from a pull that ended early.
func (s *Store) found(ctx context.Context, b *bench, l source.Layer) (storedLayer, bool) {
	file := layerFile(l)
	for _, path := range []string{s.layerPath(file), b.path(file)} {
		if found, err := storedAt(path, known(l.DiffID)); err == nil {
			return found, true
		}
	}
	if s.takeLeftover(ctx, b, file) != nil {
		return storedLayer{}, false
	}
	found, err := storedAt(b.path(file), known(l.DiffID))
	return found, err == nil
}

// takeLeftover moves a complete file of an earlier pull to the bench.
func (s *Store) takeLeftover(ctx context.Context, b *bench, file string) error {
	if _, err := os.Stat(s.leftover(file)); err != nil {
		return err
	}
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := os.Rename(besides(s.leftover(file)), besides(b.path(file))); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(s.leftover(file), b.path(file))
}

// makeLayer fetches and converts a layer, onto the bench.
func (s *Store) makeLayer(ctx context.Context, b *bench, from *shared, l source.Layer, report func(int64)) (made storedLayer, err error) {
	select {
	case s.work.slots <- struct{}{}:
		defer func() { <-s.work.slots }()
	case <-ctx.Done():
		return storedLayer{}, ctx.Err()
	}
	blob, err := from.Blob(ctx, l.Descriptor)
	if err != nil {
		return storedLayer{}, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	// A registry that hangs must not keep a conversion that nobody wants.
	defer context.AfterFunc(ctx, func() { _ = blob.Close() })()
	objects, result := s.converted(ctx, counted(blob, 0, report), l)
	if fs := mounted(l); fs != 0 {
		objects = []sif.Object{{
			Type: sif.TypePartition, FS: fs, Part: sif.PartPrimary, Arch: goruntime.GOARCH, Name: "layer", Data: counted(blob, 0, report),
		}}
	}
	path := b.path(layerFile(l))
	if err := sif.Create(path, sif.Options{Deterministic: true, Objects: objects}); err != nil {
		return storedLayer{}, cmp.Or(ctx.Err(), result.err, err)
	}
	if err = s.protect(ctx, path, l.DiffID.String(), result.ACLs); err == nil {
		made, err = storedAt(path, known(l.DiffID))
	}
	if err != nil {
		return storedLayer{}, errors.Join(err, os.Remove(path))
	}
	return made, nil
}

// outcome is that of a conversion, and why it failed.
type outcome struct {
	layer.Result
	err error
}

// converted are the objects of a layer's file: the file system, and what the
// layer says of directories. Once they are written the outcome is there.
func (s *Store) converted(ctx context.Context, blob io.Reader, l source.Layer) ([]sif.Object, *outcome) {
	result := new(outcome)
	convert := func(w io.WriterAt) (int64, error) {
		o := s.layerOptions()
		o.MaxSize = unpackedFloor + unpackedRatio*max(l.Size, 0)
		result.Result, result.err = layer.Convert(ctx, blob, string(l.MediaType), w, o)
		if result.err == nil && result.DiffID != known(l.DiffID) {
			result.err = fmt.Errorf("%w: the layer unpacks to %s, the config says %s", registry.ErrCorrupt, result.DiffID, l.DiffID)
		}
		if result.err == nil && len(result.Lost) > 0 {
			s.log.Warn("a layer has extended attributes that can't be kept", "layer", l.DiffID.String(), "attributes", result.Lost)
		}
		return result.Size, result.err
	}
	return []sif.Object{
		{Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: goruntime.GOARCH, Name: "layer", Fill: convert},
		directories(&result.Result),
	}, result
}

// layerOptions say how layers are converted.
func (s *Store) layerOptions() layer.Options {
	o := squashfs.Options{Compression: s.options.Compression}
	if o.Compression == squashfs.None {
		// The kernel reads it fast and it is written faster than a disk takes it.
		o.Compression, o.Level = squashfs.Zstd, 1
	}
	return layer.Options{Squashfs: o, UserXattrs: s.options.UserXattrs, ACLs: true}
}
