package build

import (
	"fmt"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// glob finds what an absolute pattern means below a root, in order. Neither a pattern
// nor a symlink leads out of the root. What has no sign of a pattern is itself, as is a
// pattern that is a file's name.
func glob(root int, pattern string) ([]string, error) {
	pattern = path.Clean("/" + pattern)
	if exists(root, pattern) {
		return []string{pattern}, nil
	}
	found := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, dir := range found {
			names, err := matching(root, dir, part)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				next = append(next, path.Join(dir, name))
			}
		}
		found = next
	}
	return found, nil
}

func exists(root int, name string) bool {
	fd, err := linux.OpenIn(root, name, linux.OPath|linux.ONofollow, 0)
	linux.Close(fd)
	return err == nil
}

// matching lists the names of a directory that one component of a pattern means.
func matching(root int, dir, part string) ([]string, error) {
	if !strings.ContainsAny(part, `*?[\`) {
		if exists(root, path.Join(dir, part)) {
			return []string{part}, nil
		}
		return nil, nil
	}
	fd, err := linux.OpenIn(root, dir, linux.OPath|linux.ODirectory, 0)
	if err != nil {
		return nil, nil // nothing is in what is no directory
	}
	defer linux.Close(fd)
	all, err := linux.Names(fd)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var names []string
	for _, name := range all {
		hidden := strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".")
		ok, err := path.Match(part, name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", part, err)
		}
		if ok && !hidden {
			names = append(names, name)
		}
	}
	return names, nil
}
