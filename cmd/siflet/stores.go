package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// imageSources say where images come from and whose signature they need. The
// agent has flags for them, a person the machine's files and the environment.
type imageSources struct {
	// hosts are directories in containerd's hosts.toml layout; the first that
	// knows a host counts.
	hosts []string
	// policy is the policy file; one that is not there lets every image run.
	policy string
	// auth is the file with credentials; empty is that of "registry login".
	auth string
	// parallel bounds the layers that are converted at the same time; zero
	// leaves it to the store.
	parallel int
}

func defaultImageSources() imageSources {
	return imageSources{
		hosts:  []string{"/etc/siflet/certs.d", "/etc/containerd/certs.d"},
		policy: "/etc/siflet/policy.toml",
	}
}

// sources are those of a person.
func (w *workshop) sources() imageSources {
	s := defaultImageSources()
	if hosts := envOr("SIFLET_REGISTRY_HOSTS", ""); hosts != "" {
		s.hosts = strings.Split(hosts, string(filepath.ListSeparator))
	}
	s.policy = envOr("SIFLET_POLICY_FILE", s.policy)
	return s
}

// registry makes a client of registries. It reads no file and connects to
// nothing before it is used.
func (s imageSources) registry(log *slog.Logger) *registry.Client {
	return registry.New(registry.Options{
		Hosts: s.hosts, Keychain: s.keychain(), UserAgent: "siflet/" + version, Log: log,
	})
}

// keychain finds the credentials of registries that a call brings none for.
func (s imageSources) keychain() registry.Keychain { return fileKeychain(s.auth) }

// store are the options of an image store. An unreadable policy is an error:
// nothing may run by mistake.
func (s imageSources) store(log *slog.Logger) (image.Options, error) {
	policy, err := trust.LoadPolicy(s.policy)
	if err != nil {
		return image.Options{}, err
	}
	return image.Options{Registry: s.registry(log), Policy: policy, Log: log, Parallel: s.parallel}, nil
}

// registryClient is a person's client of registries.
func (w *workshop) registryClient() *registry.Client { return w.sources().registry(w.logger()) }

// storeOptions are those of a store that a person opens.
func (w *workshop) storeOptions() (image.Options, error) { return w.sources().store(w.logger()) }

// trust checks images by the machine's policy, which is read when the first
// image is checked.
func (w *workshop) trust() lateTrust {
	return lateTrust{sync.OnceValues(func() (*trust.Policy, error) { return trust.LoadPolicy(w.sources().policy) })}
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
