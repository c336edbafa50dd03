package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// binaries are the programs that siflet starts.
type binaries struct{ instance, action string }

// complete looks for what is not named beside siflet itself, then where
// "make install" puts it.
func (b binaries) complete() (binaries, error) {
	own, err := os.Executable()
	if err != nil {
		return b, fmt.Errorf("find siflet's own directory: %w", err)
	}
	if b.instance, err = findBinary(b.instance, own, "siflet-instance"); err != nil {
		return b, err
	}
	b.action, err = findBinary(b.action, own, "siflet-action")
	return b, err
}

func findBinary(named, own, name string) (string, error) {
	dir := filepath.Dir(own)
	places := []string{filepath.Join(dir, name), filepath.Join(dir, "..", "libexec", "siflet", name)}
	if named != "" {
		places = []string{named}
	}
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s is not at %s; install it there (make build, make install)", name, places[0])
}
