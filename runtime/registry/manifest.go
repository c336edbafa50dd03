package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is what the specification suggests registries to limit manifests to.
const maxManifest = 4 << 20

const artifactManifest = "application/vnd.oci.artifact.manifest.v1+json"

func accepted() http.Header {
	return http.Header{"Accept": {strings.Join([]string{
		string(types.OCIImageIndex), string(types.DockerManifestList),
		string(types.OCIManifestSchema1), string(types.DockerManifestSchema2), artifactManifest,
	}, ", ")}}
}

func pullScope(repository string) string { return "repository:" + repository + ":pull" }

// Manifest fetches the manifest or index that ref names, by its digest if it has
// one, checked against it. auth, if not nil, goes before the keychain. Errors don't repeat ref.
func (c *Client) Manifest(ctx context.Context, ref Reference, auth *Auth) (v1.Descriptor, []byte, error) {
	servers, err := c.servers(ref)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	usable := able(servers, mayPull)
	if ref.Digest == "" {
		if usable = able(servers, mayBoth); len(usable) == 0 {
			// Nobody may do both, so one says what it is and another gives it.
			d, err := c.resolve(ctx, servers, ref, auth)
			if err != nil {
				return v1.Descriptor{}, nil, err
			}
			ref.Digest, usable = d.Digest.String(), able(servers, mayPull)
		}
	}
	var d v1.Descriptor
	var text []byte
	err = c.anywhere(ctx, usable, func(ctx context.Context, e *endpoint) error {
		var err error
		d, text, err = c.fetch(ctx, e, ref, auth)
		return err
	})
	return d, text, err
}

func (c *Client) servers(ref Reference) ([]*endpoint, error) {
	if err := ref.Valid(); err != nil {
		return nil, err
	}
	return c.endpoints(ref.Host)
}

func manifestPath(ref Reference) string {
	name := ref.Digest
	if name == "" {
		name = ref.Tag
	}
	return ref.Repository + "/manifests/" + name
}

func (c *Client) fetch(ctx context.Context, e *endpoint, ref Reference, auth *Auth) (v1.Descriptor, []byte, error) {
	response, err := c.send(ctx, e, request{
		method: http.MethodGet, path: manifestPath(ref), header: accepted(), scope: pullScope(ref.Repository), auth: auth,
	})
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	if err != nil {
		return v1.Descriptor{}, nil, unreachable(ctx, e, err)
	}
	if len(text) > maxManifest {
		return v1.Descriptor{}, nil, corrupt("its manifest is larger than 4 MiB")
	}
	digest, err := checkManifest(ref, text, response.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	mediaType, err := manifestType(text, response.Header.Get("Content-Type"))
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	return v1.Descriptor{MediaType: mediaType, Size: int64(len(text)), Digest: digest}, text, nil
}

// checkManifest compares the text with the digest that was asked for, else with the one
// that the registry states.
func checkManifest(ref Reference, text []byte, stated string) (v1.Hash, error) {
	want, ok := parseHash(ref.Digest)
	if !ok {
		if want, ok = parseHash(stated); !ok {
			if stated != "" {
				return v1.Hash{}, corrupt("the registry states a malformed digest for its manifest")
			}
			return hashOf("sha256", text), nil
		}
	}
	if found := hashOf(want.Algorithm, text); found != want {
		return v1.Hash{}, corrupt("its manifest should be %s, but is %s", want, found)
	}
	return want, nil
}

// manifestType believes the manifest itself before the registry.
func manifestType(text []byte, header string) (types.MediaType, error) {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	stated, _, _ := mime.ParseMediaType(header)
	if err := json.Unmarshal(text, &m); err != nil {
		if stated != "" && !strings.HasSuffix(stated, "json") {
			return "", corrupt("its manifest is no JSON but %s", Clean(stated))
		}
		return "", corrupt("its manifest is no JSON")
	}
	if m.SchemaVersion == 1 || m.FSLayers != nil {
		return "", fmt.Errorf("%w: Docker's schema 1, given up in 2019; push the image again with a tool of today", ErrUnsupported)
	}
	if m.Manifests != nil && (m.Config != nil || m.Layers != nil) {
		return "", corrupt("its manifest claims to be an index too")
	}
	mediaType := types.MediaType(m.MediaType)
	if mediaType == "" {
		mediaType = types.MediaType(stated)
	}
	switch {
	case mediaType.IsIndex() || mediaType.IsImage() || mediaType == artifactManifest:
	case m.Manifests != nil:
		mediaType = types.OCIImageIndex
	case m.Config != nil || m.Layers != nil:
		mediaType = types.OCIManifestSchema1
	default:
		return "", fmt.Errorf("%w: of type %q", ErrUnsupported, Clean(string(mediaType)))
	}
	if mediaType.IsIndex() != (m.Manifests != nil) {
		return "", corrupt("its manifest is not the %s that it claims to be", mediaType)
	}
	return mediaType, nil
}

// Digest asks what ref names without fetching it. It costs a HEAD request, unless the
// registry does not answer those as it should. Errors don't repeat ref.
func (c *Client) Digest(ctx context.Context, ref Reference, auth *Auth) (v1.Descriptor, error) {
	servers, err := c.servers(ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return c.resolve(ctx, servers, ref, auth)
}

func (c *Client) resolve(ctx context.Context, servers []*endpoint, ref Reference, auth *Auth) (v1.Descriptor, error) {
	usable := able(servers, mayResolve)
	if ref.Digest != "" {
		usable = able(servers, mayPull)
	}
	var d v1.Descriptor
	err := c.anywhere(ctx, usable, func(ctx context.Context, e *endpoint) error {
		var err error
		d, err = c.head(ctx, e, ref, auth)
		return err
	})
	return d, err
}

var errHead = errors.New("the registry does not say what it has")

func (c *Client) head(ctx context.Context, e *endpoint, ref Reference, auth *Auth) (v1.Descriptor, error) {
	response, err := c.send(ctx, e, request{
		method: http.MethodHead, path: manifestPath(ref), header: accepted(), scope: pullScope(ref.Repository), auth: auth,
	})
	if err == nil {
		_ = response.Body.Close()
		var d v1.Descriptor
		if d, err = headDescriptor(ref, response); err == nil {
			return d, nil
		}
	}
	if ctx.Err() != nil || errors.Is(err, ErrDenied) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return v1.Descriptor{}, err
	}
	if f, ok := errors.AsType[*failure](err); ok && (f.retry || f.busy()) {
		return v1.Descriptor{}, err
	}
	d, _, err := c.fetch(ctx, e, ref, auth)
	return d, err
}

func headDescriptor(ref Reference, response *http.Response) (v1.Descriptor, error) {
	digest, ok := parseHash(response.Header.Get("Docker-Content-Digest"))
	mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if !ok || err != nil || response.ContentLength <= 0 {
		return v1.Descriptor{}, errHead
	}
	if ref.Digest != "" && digest.String() != ref.Digest {
		return v1.Descriptor{}, corrupt("the registry gives %s for it", digest)
	}
	t := types.MediaType(mediaType)
	if !t.IsIndex() && !t.IsImage() && mediaType != artifactManifest {
		return v1.Descriptor{}, errHead
	}
	return v1.Descriptor{MediaType: t, Size: response.ContentLength, Digest: digest}, nil
}
