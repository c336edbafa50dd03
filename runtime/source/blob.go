package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// Blob reads a blob of the image from its start. Reading past its size or to the
// end of content with another digest is registry.ErrCorrupt. A size of -1 and a zero digest
// are not checked.
func (i *Image) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return openChecked(ctx, i.Blobs, d)
}

func openChecked(ctx context.Context, from Blobs, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest != (v1.Hash{}) && d.Digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: a digest by %q", ErrUnsupported, d.Digest.Algorithm)
	}
	r, err := from.Open(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	return &checked{from: r, want: d, sum: sha256.New()}, nil
}

// checked is a blob that is compared with its descriptor while it is read. The
// digest is known wrong with the last byte: a reader need not reach EOF to hear of it.
type checked struct {
	from io.ReadCloser
	want v1.Descriptor
	sum  hash.Hash
	n    int64
	err  error
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.from.Read(p)
	c.n += int64(n)
	_, _ = c.sum.Write(p[:n])
	switch sized := c.want.Size >= 0; {
	case sized && c.n > c.want.Size:
		n, err = 0, fmt.Errorf("%w: %s is longer than %d bytes", registry.ErrCorrupt, c.name(), c.want.Size)
	case sized && c.n < c.want.Size && errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %s is %d bytes short of %d", registry.ErrCorrupt, c.name(), c.want.Size-c.n, c.want.Size)
	case errors.Is(err, io.EOF), n > 0 && c.n == c.want.Size:
		if found := (v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(c.sum.Sum(nil))}); c.want.Digest != (v1.Hash{}) && found != c.want.Digest {
			err = fmt.Errorf("%w: it should be %s, but is %s", registry.ErrCorrupt, c.want.Digest, found)
		}
	}
	c.err = err
	return n, err
}

func (c *checked) name() string {
	if c.want.Digest == (v1.Hash{}) {
		return "file"
	}
	return c.want.Digest.String()
}

func (c *checked) Close() error { return c.from.Close() }

// small reads a whole blob that must not have more than most bytes.
func small(ctx context.Context, from Blobs, d v1.Descriptor, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", registry.ErrCorrupt, d.Digest, d.Size, most)
	}
	r, err := openChecked(ctx, from, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(len(raw)) > most {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", registry.ErrCorrupt, d.Digest, most)
	}
	return raw, nil
}
