package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checkCpusets sees that a child of the group at parent may have the CPUs and
// memory nodes that settings give it. On v2 the kernel takes what is not there,
// and lets the group have all instead.
func (m *Manager) checkCpusets(parent string, settings []setting) error {
	h := m.find("cpuset")
	if h == nil {
		return nil
	}
	for _, s := range settings {
		if s.file != "cpuset.cpus" && s.file != "cpuset.mems" || s.value == "" {
			continue
		}
		want, err := parseList(s.value)
		if err != nil {
			return fmt.Errorf("%s: %w", s.file, err)
		}
		text, err := m.effective(h, parent, s.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the group is about to be made, or gone
		}
		if err != nil {
			return err
		}
		have, err := parseList(text)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", s.file, parent, err)
		}
		for _, n := range want {
			if !slices.Contains(have, n) {
				return invalid("%s %q: %d is not among the %s of the group above", s.file, s.value, n, text)
			}
		}
	}
	return nil
}

// effective is what the group at p has by a file that may be empty.
func (m *Manager) effective(h *hierarchy, p, file string) (string, error) {
	name := file + ".effective"
	if m.version == 1 {
		name = "cpuset.effective_" + strings.TrimPrefix(file, "cpuset.")
	}
	text, err := readFile(path.Join(h.mount+p, name))
	return strings.TrimSpace(string(text)), err
}

// parseList reads a list such as "0-3,7".
func parseList(text string) ([]int, error) {
	const highest = 1 << 16 // more than any kernel is built for
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(low, 10, 32)
		last, err2 := strconv.ParseUint(high, 10, 32)
		if err1 != nil || err2 != nil || first > last || last > highest {
			return nil, invalid("%q is not a list such as 0-3,7", text)
		}
		for n := first; n <= last; n++ {
			out = append(out, int(n))
		}
	}
	return out, nil
}
