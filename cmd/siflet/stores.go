package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// sources are those of a person.
func (w *workshop) sources() setup.Sources {
	s := setup.DefaultSources(version)
	if hosts := envOr("SIFLET_REGISTRY_HOSTS", ""); hosts != "" {
		s.Hosts = strings.Split(hosts, string(filepath.ListSeparator))
	}
	s.Policy = envOr("SIFLET_POLICY_FILE", s.Policy)
	return s
}

// registryClient is a person's client of registries.
func (w *workshop) registryClient() *registry.Client { return w.sources().Registry(w.logger()) }

// storeOptions are those of a store that a person opens.
func (w *workshop) storeOptions() (image.Options, error) { return w.sources().Store(w.logger()) }

// trust checks images by the machine's policy, which is read when the first
// image is checked.
func (w *workshop) trust() lateTrust {
	return lateTrust{sync.OnceValues(func() (*trust.Policy, error) { return trust.LoadPolicy(w.sources().Policy) })}
}

// lateTrust is a policy that is read when it is needed.
type lateTrust struct {
	policy func() (*trust.Policy, error)
}

// Check says whether the policy lets the image run.
func (l lateTrust) Check(ctx context.Context, s trust.Subject) error {
	policy, err := l.policy()
	if err != nil {
		return err
	}
	return policy.Check(ctx, s)
}

// imageName is what an image is called in its containers and in lists: its file,
// or the name it was pulled by.
func imageName(img image.Image) string {
	switch {
	case img.Path != "":
		return img.Path
	case len(img.References) > 0:
		return img.References[0]
	default:
		return img.ID
	}
}
