package cgroups

import (
	"fmt"
	"slices"
	"strings"
)

// hierarchy is one mounted tree of groups.
type hierarchy struct {
	mount       string
	controllers []string // v1: as mounted, "name=systemd" included
	unified     bool     // cgroup2
	dir         *mountPoint
}

// auxiliary tells the trees that only track processes from those that limit them.
func (h *hierarchy) auxiliary(version int) bool {
	if version == 2 {
		return false
	}
	return h.unified || !slices.ContainsFunc(h.controllers, func(name string) bool {
		return !strings.HasPrefix(name, "name=")
	})
}

// wanted are the controllers we set or read. A v1 hierarchy with none of them
// (net_cls, perf_event) costs a directory per group and gives nothing.
func wanted(name string) bool {
	switch name {
	case "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "io", "pids", "hugetlb":
		return true
	}
	return false
}

// parseMounts finds the cgroup hierarchies at or below root in the text of a
// mountinfo file. A cgroup2 at root itself hides all others.
func parseMounts(info, root string) []hierarchy {
	var tree []hierarchy
	seen := map[string]bool{}
	for line := range strings.Lines(info) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(source) < 3 {
			continue
		}
		mount := unescape(fields[4])
		if mount != root && !strings.HasPrefix(mount, strings.TrimSuffix(root, "/")+"/") {
			continue
		}
		switch source[0] {
		case "cgroup2":
			if mount == root {
				return []hierarchy{{mount: mount, unified: true}}
			}
			if !seen["cgroup2"] {
				seen["cgroup2"] = true
				tree = append(tree, hierarchy{mount: mount, unified: true})
			}
		case "cgroup":
			names := v1Controllers(source[2])
			if len(names) > 0 && !seen[names[0]] {
				seen[names[0]] = true
				tree = append(tree, hierarchy{mount: mount, controllers: names})
			}
		}
	}
	return tree
}

// v1Controllers picks the controllers we use out of a v1 mount's options.
func v1Controllers(options string) []string {
	var names []string
	for name := range strings.SplitSeq(options, ",") {
		if wanted(name) || strings.HasPrefix(name, "name=") {
			names = append(names, name)
		}
	}
	return names
}

// unescape undoes mountinfo's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// cleanPath makes a group's path absolute. It refuses what could lead out of
// the tree.
func cleanPath(path string) (string, error) {
	if isClean(path) {
		return path, nil
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		if err := checkName(part); err != nil {
			return "", fmt.Errorf("cgroup path %q: %w", path, err)
		}
		parts = append(parts, part)
	}
	return "/" + strings.Join(parts, "/"), nil
}

// isClean is for the many paths that cleanPath has made.
func isClean(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	for ok && rest != "" {
		var name string
		name, rest, ok = strings.Cut(rest, "/")
		if checkName(name) != nil {
			return false
		}
		if !ok {
			return true
		}
	}
	return false
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("name %q: %w", name, ErrInvalid)
	case len(name) > 255:
		return fmt.Errorf("name of %d bytes: %w", len(name), ErrInvalid)
	case strings.ContainsAny(name, "/\n\x00"):
		return fmt.Errorf("name %q: %w", name, ErrInvalid)
	}
	return nil
}
