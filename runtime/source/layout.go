package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

// layout is an OCI image layout, in a directory or in an archive.
type layout struct{ files }

func (l *layout) Open(_ context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	name := "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex
	return openAt(l.files, name, d, offset)
}

// openAt opens the file that has a blob.
func openAt(from files, name string, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := from.open(name)
	if err != nil {
		return nil, absent(name, err)
	}
	switch size := f.Size(); {
	case d.Size >= 0 && size < d.Size:
		err = fmt.Errorf("%w: %s is %d bytes short of %d", registry.ErrCorrupt, d.Digest, d.Size-size, d.Size)
	case d.Size >= 0 && size > d.Size:
		err = fmt.Errorf("%w: %s is %d bytes longer than %d", registry.ErrCorrupt, d.Digest, size-d.Size, d.Size)
	case offset < 0 || offset > size:
		err = fmt.Errorf("%s has %d bytes, there is none at %d", d.Digest, size, offset)
	default:
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (l *layout) manifest(ctx context.Context, d v1.Descriptor) ([]byte, types.MediaType, error) {
	raw, err := small(ctx, l, d, maxManifest)
	return raw, d.MediaType, err
}

func openLayout(ctx context.Context, rest string, o Options) (*Image, error) {
	name, choice, err := splitChoice(rest)
	if err != nil {
		return nil, err
	}
	root, err := reach(o, name, os.OpenRoot)
	if err != nil {
		return nil, err
	}
	from := &layout{files: directory{root}}
	image, err := from.choose(ctx, choice, o.Arch)
	return keep(image, err, from, called("oci", name, choice))
}

// choose finds the one image that a choice means, for a platform.
func (l *layout) choose(ctx context.Context, choice, arch string) (*Image, error) {
	raw, err := contents(l.files, "index.json", maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no OCI layout: index.json is missing", ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	index, err := parseDocument(raw, types.OCIImageIndex)
	if err != nil {
		// Nothing of what is in it: it may be a file that is not for the eyes of whoever named the directory.
		return nil, fmt.Errorf("%w: no OCI layout: index.json is not what lists a layout's images", ErrUnsupported)
	}
	entries, images := gather(index.Manifests)
	found := chosen(images, choice)
	if len(found) == 0 {
		return nil, notChosen(images, choice)
	}
	r := newResolver(l, arch)
	names := slices.Clone(images[found[0]].names)
	if len(found) > 1 {
		// One image for several platforms, without an index of its own.
		var same []v1.Descriptor
		for _, i := range found {
			if entries[i].Platform == nil || !slices.Equal(images[i].names, names) {
				return nil, ambiguous(images)
			}
			same = append(same, entries[i])
		}
		image, err := r.index(ctx, same, 0)
		if err != nil {
			return nil, err
		}
		image.Top, image.Tags = image.Manifest, tags(names)
		return image, nil
	}
	d := entries[found[0]]
	// What the entry says about itself is not a choice between platforms.
	image, err := r.fetch(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	image.Top, image.Tags = d.Digest, tags(names)
	return image, nil
}

// gather brings together the names of each manifest that an index.json lists.
func gather(manifests []v1.Descriptor) ([]v1.Descriptor, []held) {
	var entries []v1.Descriptor
	var images []held
	for _, d := range manifests {
		if isAttestation(d) {
			continue
		}
		i := slices.IndexFunc(images, func(h held) bool { return h.digest == d.Digest })
		if i < 0 {
			i = len(images)
			images = append(images, held{digest: d.Digest})
			entries = append(entries, d)
		}
		for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
			if name := d.Annotations[key]; name != "" && !slices.Contains(images[i].names, name) {
				images[i].names = append(images[i].names, name)
			}
		}
	}
	return entries, images
}
