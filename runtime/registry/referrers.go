package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxReferrers bounds what a registry may list, and how many requests that takes.
const (
	maxReferrers     = 4096
	maxReferrerPages = 64
)

var errNoReferrers = errors.New("the registry has no referrers API")

// Referrers lists what refers to a manifest, by the referrers API or its tag
// schema, of one artifact type or, if that is empty, of all.
func (c *Client) Referrers(ctx context.Context, ref Reference, digest, artifactType string, auth *Auth) ([]v1.Descriptor, error) {
	ref.Tag, ref.Digest = "", digest
	servers, err := c.servers(ref)
	if err != nil {
		return nil, err
	}
	var all []v1.Descriptor
	err = c.anywhere(ctx, able(servers, mayBoth), func(ctx context.Context, e *endpoint) error {
		var err error
		if all, err = c.referrers(ctx, e, ref, artifactType, auth); errors.Is(err, errNoReferrers) {
			all, err = c.taggedReferrers(ctx, e, ref, auth)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", digest, err)
	}
	var list []v1.Descriptor
	for _, d := range all {
		if artifactType == "" || d.ArtifactType == artifactType {
			list = append(list, d)
		}
	}
	return list, nil
}

func (c *Client) referrers(ctx context.Context, e *endpoint, ref Reference, artifactType string, auth *Auth) ([]v1.Descriptor, error) {
	r := request{
		method: http.MethodGet, path: ref.Repository + "/referrers/" + ref.Digest, query: url.Values{},
		header: http.Header{"Accept": {string(types.OCIImageIndex)}}, scope: pullScope(ref.Repository), auth: auth,
	}
	if artifactType != "" {
		r.query.Set("artifactType", artifactType)
	}
	var list []v1.Descriptor
	for range maxReferrerPages {
		page, next, err := c.referrerPage(ctx, e, r)
		if err != nil {
			return nil, err
		}
		if list = append(list, page...); len(list) > maxReferrers {
			break
		}
		if next == nil {
			return list, nil
		}
		r.query = next
	}
	return nil, corrupt("the registry lists more than %d referrers, or too many pages of them", maxReferrers)
}

// referrerPage returns the query of the next page, nil if there is none.
func (c *Client) referrerPage(ctx context.Context, e *endpoint, r request) ([]v1.Descriptor, url.Values, error) {
	response, err := c.send(ctx, e, r)
	if err != nil {
		f, ok := errors.AsType[*failure](err)
		if ok && !f.retry && !errors.Is(err, ErrDenied) && f.status != 0 {
			return nil, nil, errNoReferrers
		}
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if t, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || t != string(types.OCIImageIndex) {
		return nil, nil, errNoReferrers // a page for people
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	if err != nil {
		return nil, nil, unreachable(ctx, e, err)
	}
	list, err := readReferrers(text)
	if err != nil {
		return nil, nil, err
	}
	next, err := nextPage(response)
	return list, next, err
}

func readReferrers(text []byte) ([]v1.Descriptor, error) {
	var index v1.IndexManifest
	if len(text) > maxManifest {
		return nil, corrupt("the list of referrers is larger than 4 MiB")
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, corrupt("the list of referrers is no index")
	}
	if len(index.Manifests) > maxReferrers {
		return nil, corrupt("the registry lists more than %d referrers", maxReferrers)
	}
	return index.Manifests, nil
}

// nextPage reads the Link header; only the query may differ from the request's.
func nextPage(response *http.Response) (url.Values, error) {
	for _, link := range response.Header.Values("Link") {
		target, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
			continue
		}
		next, err := response.Request.URL.Parse(target)
		if err != nil || next.Host != response.Request.URL.Host || next.Path != response.Request.URL.Path {
			return nil, corrupt("the list of referrers goes on somewhere else")
		}
		return next.Query(), nil
	}
	return nil, nil //nolint:nilnil // there is none
}

// taggedReferrers reads the list that clients keep under a tag where there is no API.
func (c *Client) taggedReferrers(ctx context.Context, e *endpoint, ref Reference, auth *Auth) ([]v1.Descriptor, error) {
	ref.Tag, ref.Digest = strings.Replace(ref.Digest, ":", "-", 1), ""
	const longest = 128
	ref.Tag = ref.Tag[:min(len(ref.Tag), longest)]
	_, text, err := c.fetch(ctx, e, ref, auth)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readReferrers(text)
}
