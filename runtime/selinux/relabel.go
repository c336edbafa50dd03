package selinux

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/selinux/go-selinux/label"
)

// CheckSource refuses to give the files that a machine runs on to a container. A link
// counts as what it leads to.
func CheckSource(source string) (path string, err error) {
	if path, err = filepath.EvalSymlinks(source); err != nil {
		return "", err
	}
	if systemDir(path) {
		return "", fmt.Errorf("%s is the node's own and can't get the label of a container; mount a directory below it, or without selinux_relabel", path)
	}
	return path, nil
}

// systemDir knows what the label package would refuse only when it is too late to say so.
func systemDir(name string) bool {
	return slices.Contains([]string{
		"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt",
		"/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
	}, name)
}

// Relabel gives source and all below it a label. File systems that keep no labels are
// left as they are.
func Relabel(source, to string) error {
	path, err := CheckSource(source)
	if err != nil {
		return err
	}
	if err := label.Relabel(path, to, false); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("label it %s: %w", to, err)
	}
	return nil
}
