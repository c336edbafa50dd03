package registry

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Referrers lists what refers to a manifest, by the referrers API or its tag
// schema, of one artifact type or, if that is empty, of all.
func (c *Client) Referrers(ctx context.Context, ref Reference, digest, artifactType string, auth *Auth) ([]v1.Descriptor, error) {
	return nil, ErrUnsupported
}
