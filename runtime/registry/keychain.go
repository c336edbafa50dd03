package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// FileKeychain reads files in the form of Docker's config.json, with its credential
// helpers, whenever it is asked; the first file that knows a host counts. Files that
// are not there know none.
type FileKeychain struct {
	Files []string
	// Patience is how long a helper is waited for; zero is half a minute.
	Patience time.Duration
}

// UserFiles are the files where other programs of this user keep credentials: Docker
// and Podman.
func UserFiles() []string {
	var files []string
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, filepath.Join(dir, "config.json"))
	} else if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".docker", "config.json"))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	return files
}

// dockerConfig is the part of config.json that is about credentials.
type dockerConfig struct {
	Auths map[string]struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	Helpers map[string]string `json:"credHelpers"`
	Store   string            `json:"credsStore"`
}

// Credentials returns what the first file that knows the host has for it.
func (k FileKeychain) Credentials(ctx context.Context, host string) (Auth, error) {
	for _, path := range k.Files {
		text, err := readBounded(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Auth{}, fmt.Errorf("credentials: %w", err)
		}
		auth, err := k.in(ctx, text, canonicalHost(host))
		if err != nil {
			return Auth{}, fmt.Errorf("credentials in %s: %w", path, err)
		}
		if auth != (Auth{}) {
			return auth, nil
		}
	}
	return Auth{}, nil
}

// in finds a host's credentials in a file's text.
func (k FileKeychain) in(ctx context.Context, text []byte, host string) (Auth, error) {
	var config dockerConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return Auth{}, errors.New("it is no JSON in the form of Docker's config.json")
	}
	helper := config.Store
	if key, ok := keyOf(config.Helpers, host); ok {
		helper = config.Helpers[key]
	}
	const half = 30 * time.Second
	if helper != "" {
		if auth, err := askHelper(ctx, helper, host, cmp.Or(k.Patience, half)); err != nil || auth != (Auth{}) {
			return auth, err
		}
	}
	key, ok := keyOf(config.Auths, host)
	if !ok {
		return Auth{}, nil
	}
	a := config.Auths[key]
	return Auth{Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}, nil
}

// keyOf finds the key that means the host: itself before URLs such as https://HOST/v1/.
// Podman's keys with a path are about a part of a registry, not about all of it.
func keyOf[V any](m map[string]V, host string) (string, bool) {
	if _, ok := m[host]; ok {
		return host, true
	}
	keys := []string{}
	for key := range m {
		plain := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(key, "/"), "/v1"), "/v2")
		plain = withoutScheme(plain)
		if !strings.Contains(plain, "/") && canonicalHost(plain) == host {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return "", false
	}
	return slices.Min(keys), true
}

func withoutScheme(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		return rest
	}
	return address
}

// askHelper runs docker-credential-NAME, by its protocol: a host on its input, JSON
// on its output.
func askHelper(ctx context.Context, name, host string, patience time.Duration) (Auth, error) {
	const grace = time.Second
	if strings.ContainsAny(name, "/\\\x00") {
		return Auth{}, fmt.Errorf("%q is no credential helper's name", name)
	}
	program := "docker-credential-" + name
	path, err := exec.LookPath(program)
	if err != nil {
		return Auth{}, fmt.Errorf("credential helper %s is not installed", program)
	}
	server := host
	if host == hub {
		server = "https://" + hubLegacy + "/v1/"
	}
	inTime, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(inTime, path, "get")
	cmd.WaitDelay = grace
	cmd.Stdin = strings.NewReader(server)
	out, err := cmd.Output()
	if err != nil {
		if bytes.Contains(out, []byte("credentials not found")) {
			return Auth{}, nil
		}
		if ctx.Err() == nil && inTime.Err() != nil {
			return Auth{}, fmt.Errorf("credential helper %s didn't answer in %s", program, Span(patience))
		}
		if said := complaint(out, err); said != "" {
			return Auth{}, fmt.Errorf("credential helper %s: %s (%w)", program, said, err)
		}
		return Auth{}, fmt.Errorf("credential helper %s: %w", program, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return Auth{}, fmt.Errorf("credential helper %s: its answer is no JSON", program)
	}
	if answer.Username == "<token>" {
		return Auth{IdentityToken: answer.Secret}, nil
	}
	return Auth{Username: answer.Username, Password: answer.Secret}, nil
}

// complaint is the first line of what a helper that failed says: on its output, by the
// protocol, else where other programs say it. An answer, with a secret in it, is none.
func complaint(out []byte, err error) string {
	said := [][]byte{out}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		said = append(said, exit.Stderr)
	}
	for _, text := range said {
		line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
		if len(line) > 0 && !bytes.ContainsAny(line, "{}") && !bytes.Contains(bytes.ToLower(line), []byte("secret\"")) {
			return Clean(string(line))
		}
	}
	return ""
}
