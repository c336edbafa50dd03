package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

// remote is one repository in a registry.
type remote struct {
	client *registry.Client
	ref    registry.Reference
	auth   *registry.Auth
}

func (r *remote) Open(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	return r.client.Blob(ctx, r.ref, d, offset, r.auth)
}

func (r *remote) Close() error { return nil }

func (r *remote) manifest(ctx context.Context, d v1.Descriptor) ([]byte, types.MediaType, error) {
	ref := r.ref
	ref.Tag, ref.Digest = "", d.Digest.String()
	found, raw, err := r.client.Manifest(ctx, ref, r.auth)
	if err != nil {
		return nil, "", fmt.Errorf("manifest %s: %w", d.Digest, translated(err))
	}
	if d.Size >= 0 && int64(len(raw)) != d.Size {
		return nil, "", fmt.Errorf("%w: %s has %d bytes, not %d", registry.ErrCorrupt, d.Digest, len(raw), d.Size)
	}
	return raw, found.MediaType, nil
}

func openRegistry(ctx context.Context, text string, o Options) (*Image, error) {
	ref, err := registry.ParseReference(text)
	if err != nil {
		return nil, shortened(err)
	}
	client := o.Registry
	if client == nil {
		client = registry.New(registry.Options{Log: o.Log})
	}
	from := &remote{client: client, ref: ref, auth: o.Auth}
	d, raw, err := client.Manifest(ctx, ref, o.Auth)
	if err == nil {
		err = checkDescriptor(d)
	}
	if err != nil {
		return nil, translated(err)
	}
	image, err := newResolver(from, o.Arch).top(ctx, d.Digest, raw, d.MediaType)
	if image, err = keep(image, err, from, ref.String()); err != nil {
		return nil, err
	}
	image.remote = from
	return image, nil
}

// shortened leaves out the name from what is wrong with it.
func shortened(err error) error {
	if e, ok := errors.AsType[*registry.ReferenceError](err); ok {
		return kindOf(registry.ErrReference, "%w: %s", registry.ErrReference, e.Reason)
	}
	return err
}

// translated makes one kind of what the registry's package and this one do not support.
func translated(err error) error {
	if errors.Is(err, registry.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

func openORAS(ctx context.Context, text string, o Options) (*Image, error) {
	image, err := openRegistry(ctx, text, o)
	if err != nil {
		return nil, err
	}
	if image.SIF == nil {
		err := fmt.Errorf("%w: it is no SIF file but an OCI image: docker://%s", ErrUnsupported, image.Name)
		return nil, errors.Join(err, image.Blobs.Close())
	}
	return image, nil
}
