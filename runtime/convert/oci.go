package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/squashfs"
)

// OCISIF writes the image as an OCI-SIF: a squashfs for each layer, the config
// with their digests, a manifest and an index. Layers that are squashfs already
// are taken as they are; an image with no others keeps its config and manifest
// and so its digest. An image that is a SIF is copied as it is. path appears
// complete or not at all.
func OCISIF(ctx context.Context, image *source.Image, path string, o Options) error {
	c := &conversion{image: image, options: o.complete(path)}
	if image.SIF != nil {
		return c.copySIF(ctx, path)
	}
	if len(image.Layers) == 0 {
		return fmt.Errorf("%w: it has no layers", source.ErrUnsupported)
	}
	// Only what can be a flat SIF can be run.
	if _, err := parseConfig(image.Config); err != nil {
		return err
	}
	w := &ociWriter{conversion: c, written: map[v1.Hash]*v1.Descriptor{}, below: directories{}}
	w.addLayers(ctx)
	w.add(w.config)
	w.add(w.manifest)
	w.objects = append(w.objects, sif.Object{Type: sif.TypeOCIIndex, Fill: filled(w.index)})
	return w.create(path, w.objects)
}

// ociWriter makes the objects of an OCI-SIF. Each is made when those before it
// are in the file, since it has their digests.
type ociWriter struct {
	*conversion
	objects []sif.Object
	// written are the layers by the digest of what they were made of.
	written map[v1.Hash]*v1.Descriptor
	// below is what the layers so far say of directories.
	below directories
	// documents are config and manifest, described when they are in the file.
	documents []*v1.Descriptor
}

// addLayers adds an object for each layer, lowest first. A layer that comes
// twice is one object.
func (w *ociWriter) addLayers(ctx context.Context) {
	for i, l := range w.image.Layers {
		if w.written[l.Digest] != nil {
			continue
		}
		d := &v1.Descriptor{MediaType: layerSquashfs}
		w.written[l.Digest] = d
		fill := func(out io.WriterAt) (int64, error) { return w.squash(ctx, i, out) }
		if isFileSystem(l.Descriptor) {
			d.MediaType = l.MediaType
			fill = func(out io.WriterAt) (int64, error) { return w.pass(ctx, i, out) }
		}
		w.objects = append(w.objects, sif.Object{
			Type: sif.TypeOCIBlob, Aligned: true, Fill: fill, Written: func(s sif.Descriptor) { describe(d, s) },
		})
	}
}

// describe completes the description of what is in the file now.
func describe(d *v1.Descriptor, s sif.Descriptor) {
	d.Size = s.Size
	// It is one that sif made.
	d.Digest, _ = v1.NewHash(s.Digest)
}

func (w *ociWriter) add(document func() ([]byte, types.MediaType, error)) {
	d := &v1.Descriptor{}
	w.documents = append(w.documents, d)
	w.objects = append(w.objects, sif.Object{Type: sif.TypeOCIBlob, Fill: filled(func() ([]byte, error) {
		text, mediaType, err := document()
		d.MediaType = mediaType
		return text, err
	}), Written: func(s sif.Descriptor) { describe(d, s) }})
}

// filled writes a document when its turn has come.
func filled(document func() ([]byte, error)) func(io.WriterAt) (int64, error) {
	return func(w io.WriterAt) (int64, error) {
		text, err := document()
		if err != nil {
			return 0, err
		}
		n, err := w.WriteAt(text, 0)
		return int64(n), err
	}
}

// squash converts a layer.
func (w *ociWriter) squash(ctx context.Context, i int, out io.WriterAt) (size int64, err error) {
	o := layer.Options{Squashfs: squashfs.Options{Compression: squashfs.Gzip, Workers: w.options.Workers}, Below: w.below.find}
	err = w.layer(ctx, i, func(blob io.Reader, mediaType string) (layer.Result, error) {
		result, err := layer.Convert(ctx, blob, mediaType, out, o)
		size = result.Size
		w.below.add(result)
		return result, err
	})
	return size, err
}

// pass copies a layer that is a file system.
func (w *ociWriter) pass(ctx context.Context, i int, out io.WriterAt) (int64, error) {
	blob, err := w.open(ctx, w.image.Layers[i].Descriptor)
	if err != nil {
		return 0, w.inLayer(i, err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(out, 0)}, blob, make([]byte, 1<<20))
	if err := errors.Join(err, blob.Close()); err != nil {
		return 0, w.inLayer(i, err)
	}
	return n, nil
}

// unchanged says that every layer is taken as it is.
func (w *ociWriter) unchanged() bool {
	for _, l := range w.image.Layers {
		if !isFileSystem(l.Descriptor) {
			return false
		}
	}
	return len(w.image.Raw) > 0
}

// config is the image's with the digests of the new layers.
func (w *ociWriter) config() ([]byte, types.MediaType, error) {
	if w.unchanged() {
		return w.image.Config, types.OCIConfigJSON, nil
	}
	// What is not known here is kept.
	var all map[string]json.RawMessage
	if err := json.Unmarshal(w.image.Config, &all); err != nil {
		return nil, "", fmt.Errorf("image config: %w", err)
	}
	root := v1.RootFS{Type: "layers"}
	for _, l := range w.image.Layers {
		root.DiffIDs = append(root.DiffIDs, w.written[l.Digest].Digest)
	}
	var err error
	if all["rootfs"], err = json.Marshal(root); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(all)
	return text, types.OCIConfigJSON, err
}

// manifest lists the new layers and says what they were made of.
func (w *ociWriter) manifest() ([]byte, types.MediaType, error) {
	var old v1.Manifest
	if len(w.image.Raw) > 0 {
		m, err := v1.ParseManifest(bytes.NewReader(w.image.Raw))
		if err != nil {
			return nil, "", fmt.Errorf("image manifest: %w", err)
		}
		old = *m
	}
	if w.unchanged() {
		if old.MediaType == "" {
			old.MediaType = types.OCIManifestSchema1
		}
		return w.image.Raw, old.MediaType, nil
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: *w.documents[0],
		Annotations: map[string]string{labelSource: w.image.Name},
	}
	maps.Copy(m.Annotations, old.Annotations)
	m.Annotations[labelSource] = w.image.Name
	if w.image.Manifest != (v1.Hash{}) {
		m.Annotations[labelSourceDigest] = w.image.Manifest.String()
	}
	for _, l := range w.image.Layers {
		m.Layers = append(m.Layers, *w.written[l.Digest])
	}
	text, err := json.Marshal(m)
	return text, m.MediaType, err
}

// index has the manifest and nothing else.
func (w *ociWriter) index() ([]byte, error) {
	return json.Marshal(v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{*w.documents[1]},
	})
}
