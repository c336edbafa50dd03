package setup

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// Sources say where images come from and whose signature they need. The
// agent has flags for them, a person the machine's files and the environment.
type Sources struct {
	// Hosts are directories in containerd's hosts.toml layout; the first that
	// knows a host counts.
	Hosts []string
	// Policy is the policy file. One that is not there lets every image run, unless
	// PolicyNamed says that somebody named it: then none.
	Policy      string
	PolicyNamed bool
	// Auth is the file with credentials; empty is that of "registry login".
	Auth string
	// Parallel bounds the layers that are converted at the same time; zero
	// leaves it to the store.
	Parallel int
	// Version is siflet's, for the registries to see.
	Version string
}

// DefaultSources are those of a machine where nobody says otherwise.
func DefaultSources(version string) Sources {
	return Sources{
		Hosts:  []string{"/etc/siflet/certs.d", "/etc/containerd/certs.d"},
		Policy: "/etc/siflet/policy.toml", Version: version,
	}
}

// Registry makes a client of registries. It reads no file and connects to
// nothing before it is used.
func (s Sources) Registry(log *slog.Logger) *registry.Client {
	return registry.New(registry.Options{
		Hosts: s.Hosts, Keychain: Keychain(s.Auth), UserAgent: "siflet/" + s.Version, Log: log,
	})
}

// Trust is the policy, which is read when it is needed. While it is of no use, no
// image may run. log, if not nil, hears of that.
func (s Sources) Trust(log *slog.Logger) *trust.Policy {
	return trust.NewPolicy(s.PolicyFile(log))
}

// PolicyFile is where the policy is.
func (s Sources) PolicyFile(log *slog.Logger) trust.PolicyFile {
	return trust.PolicyFile{Path: s.Policy, Optional: !s.PolicyNamed, Log: log}
}

// Store are the options of an image store that goes by the policy.
func (s Sources) Store(log *slog.Logger, policy *trust.Policy) image.Options {
	return image.Options{Registry: s.Registry(log), Policy: policy, Log: log, Parallel: s.Parallel}
}

// AuthFile is where "registry login" keeps credentials: the node's for root, who is the
// agent too, else the user's own. It is a Docker config.json.
func AuthFile() (string, error) {
	if linux.IsRoot() {
		return "/etc/siflet/auth.json", nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find a place for credentials: %w; set HOME", err)
	}
	return filepath.Join(dir, "siflet", "auth.json"), nil
}

// Keychain are the credentials in a file, empty for AuthFile, then those of
// Docker and Podman.
func Keychain(own string) registry.Keychain {
	files := registry.UserFiles()
	if own == "" {
		own, _ = AuthFile()
	}
	if own != "" {
		files = append([]string{own}, files...)
	}
	return registry.FileKeychain{Files: files}
}
