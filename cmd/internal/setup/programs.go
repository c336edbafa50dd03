// Package setup finds what siflet's commands need of the machine: their other
// programs, image stores, and where images come from.
package setup

import (
	"fmt"
	"os"
	"path/filepath"
)

// Programs are those that an engine starts.
type Programs struct{ Instance, Action string }

// Complete looks for what is not named.
func (p Programs) Complete() (Programs, error) {
	var err error
	if p.Instance, err = Program(p.Instance, "siflet-instance"); err != nil {
		return p, err
	}
	p.Action, err = Program(p.Action, "siflet-action")
	return p, err
}

// Program is the program at the path named or, if that is empty, the one called
// name beside the program that runs, or where "make install" puts it.
func Program(named, name string) (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find siflet's own directory: %w", err)
	}
	dir := filepath.Dir(own)
	places := []string{
		filepath.Join(dir, name), filepath.Join(dir, "..", "libexec", "siflet", name),
	}
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
