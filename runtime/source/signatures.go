package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

const (
	maxSignatures = 32
	// What signs an image is a few hundred bytes, a bundle with its certificates and its
	// transparency proof some thousands.
	maxPayload = 64 << 10
	maxBundle  = 1 << 20

	signingLayer    = "application/vnd.dev.cosign.simplesigning.v1+json"
	signingReferrer = "application/vnd.dev.cosign.artifact.sig.v1+json"
	bundlePrefix    = "application/vnd.dev.sigstore.bundle"
)

// Signature is a cosign signature as it was found, unverified.
type Signature struct {
	// Payload and Signature (base64) are those of a simple-signing layer.
	Payload   []byte `json:"payload,omitempty"`
	Signature string `json:"signature,omitempty"`
	// Bundle is a sigstore bundle instead.
	Bundle []byte `json:"bundle,omitempty"`
}

// Signatures fetches what cosign has attached to the image's manifests in its
// registry: none for other sources. Of more than 32, and of those too large to be
// signatures, it takes none.
func (i *Image) Signatures(ctx context.Context) ([]Signature, error) {
	if i.remote == nil {
		return nil, nil
	}
	found := attached{remote: i.remote}
	for _, digest := range slices.Compact([]v1.Hash{i.Top, i.Manifest}) {
		if err := found.tagged(ctx, digest); err != nil {
			return nil, fmt.Errorf("signatures of %s: %w", digest, err)
		}
		if err := found.referring(ctx, digest); err != nil {
			return nil, fmt.Errorf("signatures of %s: %w", digest, err)
		}
	}
	return found.list, nil
}

// attached gathers the signatures of one image.
type attached struct {
	*remote
	list []Signature
}

func (a *attached) add(s Signature) {
	if len(a.list) < maxSignatures {
		a.list = append(a.list, s)
	}
}

// tagged looks where cosign put signatures before registries knew referrers.
func (a *attached) tagged(ctx context.Context, digest v1.Hash) error {
	ref := a.ref
	ref.Tag, ref.Digest = digest.Algorithm+"-"+digest.Hex+".sig", ""
	_, raw, err := a.client.Manifest(ctx, ref, a.auth)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ref.Tag, err)
	}
	return a.simple(ctx, raw)
}

// simple takes the simple-signing layers of a manifest.
func (a *attached) simple(ctx context.Context, raw []byte) error {
	m, err := layersOf(raw)
	if err != nil {
		return err
	}
	for _, layer := range m {
		text := layer.Annotations["dev.cosignproject.cosign/signature"]
		if layer.MediaType != signingLayer || text == "" || len(text) > maxPayload || !fits(layer, maxPayload) {
			continue
		}
		if len(a.list) == maxSignatures {
			return nil
		}
		payload, err := small(ctx, a, layer, maxPayload)
		if err != nil {
			return fmt.Errorf("payload: %w", err)
		}
		a.add(Signature{Payload: payload, Signature: text})
	}
	return nil
}

// referring looks at what refers to a manifest.
func (a *attached) referring(ctx context.Context, digest v1.Hash) error {
	list, err := a.client.Referrers(ctx, a.ref, digest.String(), "", a.auth)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// Whoever can attach something can attach much: it is not all fetched.
	left := maxSignatures
	for _, d := range list {
		isBundle := strings.HasPrefix(d.ArtifactType, bundlePrefix)
		if !isBundle && d.ArtifactType != signingReferrer || !fits(d, maxManifest) {
			continue
		}
		if left--; left < 0 {
			return nil
		}
		raw, _, err := a.manifest(ctx, d)
		switch {
		case err != nil:
		case isBundle:
			err = a.bundles(ctx, raw)
		default:
			err = a.simple(ctx, raw)
		}
		if err != nil {
			return fmt.Errorf("referrer %s: %w", d.Digest, err)
		}
	}
	return nil
}

func (a *attached) bundles(ctx context.Context, raw []byte) error {
	layers, err := layersOf(raw)
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if !strings.HasPrefix(string(layer.MediaType), bundlePrefix) || !fits(layer, maxBundle) || len(a.list) == maxSignatures {
			continue
		}
		bundle, err := small(ctx, a, layer, maxBundle)
		if err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		a.add(Signature{Bundle: bundle})
	}
	return nil
}

func fits(d v1.Descriptor, most int64) bool {
	return checkDescriptor(d) == nil && d.Size <= most
}

func layersOf(raw []byte) ([]v1.Descriptor, error) {
	var m struct {
		Layers []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", registry.ErrCorrupt, err)
	}
	return m.Layers, nil
}
