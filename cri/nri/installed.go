package nri

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/nri/pkg/api"

	"github.com/siflet/siflet/runtime/linux"
)

// checkPlugins looks at what will be run as root: nobody else may be able to change it.
func checkPlugins(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	const executable = 0o111
	found := false
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("plugin: %w", err)
		}
		if info.IsDir() || info.Mode()&executable == 0 {
			continue
		}
		found = true
		if _, _, err := api.ParsePluginName(entry.Name()); err != nil {
			return fmt.Errorf("plugin %s: its name is not two digits, a dash and a name; rename it, or make it not executable", path)
		}
		if err := onlyRoots(path); err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	return onlyRoots(dir)
}

func onlyRoots(path string) error {
	fd, err := linux.Open(path, linux.OPath)
	if err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err != nil {
		return fmt.Errorf("plugins: %s: %w", path, err)
	}
	const others = 0o022
	if st.UID != 0 || st.Mode&others != 0 {
		return fmt.Errorf("plugins: %s would be run as root, and others than root may change it; mend that: chown root %s; chmod go-w %s", path, path, path)
	}
	return nil
}
