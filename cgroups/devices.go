package cgroups

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const anyDevice = -1

// deviceRules checks rules and makes them explicit: every field set, a leading
// rule that denies all, and type "a" only for every device and every access.
// In the kernel a v1 rule of type "a" means just that, whatever else it says.
func deviceRules(in []specs.LinuxDeviceCgroup) ([]specs.LinuxDeviceCgroup, error) {
	out := []specs.LinuxDeviceCgroup{rule(false, "a", anyDevice, anyDevice, "rwm")}
	for i, d := range in {
		major, minor, access := number(d.Major), number(d.Minor), d.Access
		if access == "" {
			access = "rwm"
		}
		bad := major < anyDevice || major > 1<<12-1 || minor < anyDevice || minor > 1<<20-1 ||
			strings.Trim(access, "rwm") != "" || len(access) > 3
		if bad {
			return nil, fmt.Errorf("device rule %d (%s %d:%d %.16q): %w", i, d.Type, major, minor, access, ErrInvalid)
		}
		types := []string{d.Type}
		switch d.Type {
		case "b", "c":
		case "u":
			types = []string{"c"}
		case "", "a":
			types = []string{"b", "c"}
			if major == anyDevice && minor == anyDevice && all(access) {
				types = []string{"a"}
				out = out[:0] // nothing before this rule matters
			}
		default:
			return nil, fmt.Errorf("device rule %d of type %.16q: %w", i, d.Type, ErrInvalid)
		}
		for _, t := range types {
			out = append(out, rule(d.Allow, t, major, minor, access))
		}
	}
	return out, nil
}

func rule(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Major: &major, Minor: &minor, Access: access}
}

func number(n *int64) int64 {
	if n == nil {
		return anyDevice
	}
	return *n
}

func all(access string) bool {
	return strings.Contains(access, "r") && strings.Contains(access, "w") && strings.Contains(access, "m")
}

// line is a rule as the v1 files write it.
func line(d specs.LinuxDeviceCgroup) string {
	part := func(n *int64) string {
		if number(n) == anyDevice {
			return "*"
		}
		return strconv.FormatInt(*n, 10)
	}
	return d.Type + " " + part(d.Major) + ":" + part(d.Minor) + " " + d.Access
}

func (g *Group) writeDevices(rules []specs.LinuxDeviceCgroup, fresh bool) ([]setting, error) {
	if g.m.version == 2 {
		// Replacing the program is one step that fails or not, and comes last:
		// there is nothing to undo.
		return nil, g.attachDevices(rules, fresh)
	}
	h := g.m.find("devices")
	if h == nil {
		return nil, fmt.Errorf("devices: %w", ErrNoController)
	}
	if fresh {
		return nil, g.writeRules(h, rules)
	}
	data, err := readFile(g.file(h, "devices.list"))
	if err != nil {
		return nil, err
	}
	old := strings.Split(strings.TrimSpace(string(data)), "\n")
	oldRules, err := parseRules(old)
	if err != nil {
		return nil, err
	}
	if err := g.writeRules(h, changes(old, oldRules, rules)); err != nil {
		return nil, errors.Join(err, g.writeRules(h, oldRules))
	}
	return []setting{{controller: "devices", devices: oldRules}}, nil
}

// changes are the rules that lead from the old list to the new one without
// taking away, even for a moment, what is allowed by both. Where the list is
// not plainly a list of what is allowed, they are all new rules.
func changes(old []string, oldRules, rules []specs.LinuxDeviceCgroup) []specs.LinuxDeviceCgroup {
	plain := len(rules) > 0 && rules[0].Type == "a" && !rules[0].Allow && !slices.ContainsFunc(rules[1:],
		func(d specs.LinuxDeviceCgroup) bool { return !d.Allow })
	if !plain || slices.Contains(old, "a *:* rwm") {
		return rules
	}
	wantedLines := make([]string, 0, len(rules))
	for _, d := range rules[1:] {
		wantedLines = append(wantedLines, line(d))
	}
	out := []specs.LinuxDeviceCgroup{}
	for _, d := range oldRules[1:] {
		if !slices.Contains(wantedLines, line(d)) {
			d.Allow = false
			out = append(out, d)
		}
	}
	for _, d := range rules[1:] {
		if !slices.Contains(old, line(d)) {
			out = append(out, d)
		}
	}
	return out
}

// parseRules reads devices.list, which lists what is allowed.
func parseRules(lines []string) ([]specs.LinuxDeviceCgroup, error) {
	var listed []specs.LinuxDeviceCgroup
	for _, text := range lines {
		if text == "" {
			continue
		}
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' })
		if len(fields) != 4 {
			return nil, fmt.Errorf("devices.list: line %.64q: %w", text, ErrInvalid)
		}
		var numbers [2]int64
		for i, field := range fields[1:3] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				n = anyDevice
			}
			numbers[i] = n
		}
		listed = append(listed, rule(true, fields[0], numbers[0], numbers[1], fields[3]))
	}
	if len(listed) == 1 && listed[0].Type == "a" {
		return listed, nil
	}
	return append([]specs.LinuxDeviceCgroup{rule(false, "a", anyDevice, anyDevice, "rwm")}, listed...), nil
}

// writeRules writes rules in order through one descriptor for each file.
func (g *Group) writeRules(h *hierarchy, rules []specs.LinuxDeviceCgroup) error {
	var fds [2]int
	files := [2]string{g.file(h, "devices.deny"), g.file(h, "devices.allow")}
	for i, file := range files {
		fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: file, Err: err}
		}
		defer unix.Close(fd) //nolint:errcheck // Every write has been reported by then.
		fds[i] = fd
	}
	for _, d := range rules {
		i := 0
		if d.Allow {
			i = 1
		}
		if err := writeFD(fds[i], files[i], line(d)); err != nil {
			return err
		}
	}
	return nil
}
