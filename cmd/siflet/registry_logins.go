package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/registry"
)

func logoutCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "logout HOST", Short: "forget the credentials for a registry",
		Args: exactly(1, "want a registry; see siflet registry list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := registryHost(args[0])
			if err != nil {
				return err
			}
			path, err := orAuthFile(file)
			if err != nil {
				return err
			}
			return dropLogin(cmd.OutOrStdout(), path, host)
		},
	}
	registerAuthFile(cmd, &file)
	return cmd
}

func loginListCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the registries there are credentials for",
		Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := orAuthFile(file)
			if err != nil {
				return err
			}
			return listLogins(cmd.OutOrStdout(), path, asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	registerAuthFile(cmd, &file)
	return cmd
}

// logins is a config.json; its other settings are kept as they are.
type logins struct {
	all, auths map[string]json.RawMessage
}

func readLogins(path string) (logins, error) {
	l := logins{all: map[string]json.RawMessage{}, auths: map[string]json.RawMessage{}}
	// What is written takes the place of what is there, which must be no device or pipe.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return l, fmt.Errorf("credentials: %s is no file to keep them in; name another", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return l, fmt.Errorf("credentials: %w", err)
	}
	err = json.Unmarshal(text, &l.all)
	if auths, ok := l.all["auths"]; ok && err == nil {
		err = json.Unmarshal(auths, &l.auths)
	}
	if err != nil || l.all == nil || l.auths == nil {
		return l, fmt.Errorf("credentials: %s is not in the form of Docker's config.json; correct it or move it away", path)
	}
	return l, nil
}

func (l logins) write(path string) error {
	text, err := json.Marshal(l.auths)
	if err != nil {
		return err
	}
	l.all["auths"] = text
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	if err := record.Write(path, l.all); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	return nil
}

// loginKey is what Docker calls a registry in its file.
func loginKey(host string) string {
	if host == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return host
}

// forget drops the registry under whatever name it is kept.
func (l logins) forget(host string) bool {
	found := false
	for key := range l.auths {
		if name, err := registryHost(key); err == nil && name == host {
			delete(l.auths, key)
			found = true
		}
	}
	return found
}

func keepLogin(path, host string, auth registry.Auth) error {
	l, err := readLogins(path)
	if err != nil {
		return err
	}
	entry, err := json.Marshal(map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password)),
	})
	if err != nil {
		return err
	}
	l.forget(host)
	l.auths[loginKey(host)] = entry
	return l.write(path)
}

func dropLogin(out io.Writer, path, host string) error {
	l, err := readLogins(path)
	if err != nil {
		return err
	}
	if !l.forget(host) {
		_, err := fmt.Fprintf(out, "Not logged in to %s.\n", host)
		return err
	}
	if err := l.write(path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Logged out of %s.\n", host)
	return err
}

// listedLogin is one registry of "registry list --json".
type listedLogin struct {
	Host     string `json:"registry"`
	Username string `json:"username"`
}

func listLogins(out io.Writer, path string, asJSON bool) error {
	l, err := readLogins(path)
	if err != nil {
		return err
	}
	list, rows := []listedLogin{}, [][]string{{"REGISTRY", "USER"}}
	for _, key := range slices.Sorted(maps.Keys(l.auths)) {
		var entry struct{ Username, Auth string }
		_ = json.Unmarshal(l.auths[key], &entry) // else its user is unknown
		if text, err := base64.StdEncoding.DecodeString(entry.Auth); err == nil && entry.Username == "" {
			entry.Username, _, _ = strings.Cut(string(text), ":")
		}
		host := key
		if found, err := registryHost(key); err == nil {
			host = found
		}
		list = append(list, listedLogin{Host: host, Username: entry.Username})
		rows = append(rows, []string{host, entry.Username})
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "\t")
		return encoder.Encode(map[string]any{"registries": list})
	}
	return table(out, rows)
}
