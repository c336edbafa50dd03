package setup

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// Sources say where images come from and whose signature they need. The
// agent has flags for them, a person the machine's files and the environment.
type Sources struct {
	// Hosts are directories in containerd's hosts.toml layout; the first that
	// knows a host counts.
	Hosts []string
	// Policy is the policy file; one that is not there lets every image run.
	Policy string
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

// Store are the options of an image store. An unreadable policy is an error:
// nothing may run by mistake.
func (s Sources) Store(log *slog.Logger) (image.Options, error) {
	policy, err := trust.LoadPolicy(s.Policy)
	if err != nil {
		return image.Options{}, err
	}
	return image.Options{Registry: s.Registry(log), Policy: policy, Log: log, Parallel: s.Parallel}, nil
}

// AuthFile is where "registry login" keeps credentials: the node's for root, who is the
// agent too, else the user's own. It is a Docker config.json.
func AuthFile() (string, error) {
	if os.Geteuid() == 0 {
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
