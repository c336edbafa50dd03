// Package cdi finds devices by their names, vendor/class=name, in the files that the
// vendors of devices write (the Container Device Interface), and gives them to containers.
//
// It reads the files anew each time, so that what a vendor changes counts for the next
// container. It runs nothing, and writes no file.
package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
	files "tags.cncf.io/container-device-interface/specs-go"
)

// Edits are what a container gets of its devices: variables, nodes, mounts, hooks and groups.
type Edits = files.ContainerEdits

// DefaultDirs are where vendors put their files.
func DefaultDirs() []string { return []string{cdi.DefaultStaticDir, cdi.DefaultDynamicDir} }

// IsName reports whether text is a device's full name.
func IsName(text string) bool { return parser.IsQualifiedName(text) }

// FromAnnotations are the devices that a container's annotations name, in the order
// of the annotations' keys.
func FromAnnotations(annotations map[string]string) ([]string, error) {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if !strings.HasPrefix(key, cdi.AnnotationPrefix) {
			continue
		}
		for name := range strings.SplitSeq(annotations[key], ",") {
			if !IsName(name) {
				return nil, fmt.Errorf("annotation %s: %q is not a device's name; want vendor/class=name", key, name)
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// Known reports whether a device is described in dirs.
func Known(dirs []string, name string) bool { return open(dirs).GetDevice(name) != nil }

func open(dirs []string) *cdi.Cache {
	if len(dirs) == 0 {
		dirs = DefaultDirs()
	}
	cache, _ := cdi.NewCache(cdi.WithSpecDirs(dirs...), cdi.WithAutoRefresh(false)) // its error is always nil
	return cache
}

// Find describes devices. What the host has to say of their nodes is filled in. A name
// that no file describes is an error that tells of files that are of no use, too.
func Find(dirs, names []string) (*Edits, error) {
	if len(names) == 0 {
		return nil, nil //nolint:nilnil // no devices, no edits
	}
	cache := open(dirs)
	var (
		all     cdi.ContainerEdits
		seen    []*cdi.Spec
		unknown []string
	)
	for _, name := range names {
		device := cache.GetDevice(name)
		if device == nil {
			unknown = append(unknown, name)
			continue
		}
		if spec := device.GetSpec(); !slices.Contains(seen, spec) {
			seen = append(seen, spec)
			all.Append(&cdi.ContainerEdits{ContainerEdits: &spec.ContainerEdits})
		}
		all.Append(&cdi.ContainerEdits{ContainerEdits: &device.ContainerEdits})
	}
	if len(unknown) > 0 {
		return nil, errors.New("unknown device " + strings.Join(unknown, ", ") + ": no file in " +
			strings.Join(cache.GetSpecDirectories(), ", ") + " describes it" + mistakes(cache))
	}
	edits := all.ContainerEdits
	if edits == nil {
		edits = &Edits{}
	}
	if err := refuse(edits); err != nil {
		return nil, fmt.Errorf("device %s: %w", strings.Join(names, ", "), err)
	}
	// Trying them out fills in the nodes.
	if err := all.Apply(&specs.Spec{}); err != nil {
		return nil, fmt.Errorf("device %s: %w", strings.Join(names, ", "), err)
	}
	return edits, nil
}

// mistakes tells what is wrong with the files that can't be used.
func mistakes(cache *cdi.Cache) string {
	var text strings.Builder
	found := cache.GetErrors()
	for _, file := range slices.Sorted(maps.Keys(found)) {
		for _, err := range found[file] {
			// A conflict is an error of both files, and names them.
			if said := err.Error(); !strings.Contains(text.String(), said) {
				fmt.Fprintf(&text, "; %s: %s", file, said)
			}
		}
	}
	return strings.ReplaceAll(text.String(), "\n", ", ")
}

func refuse(e *Edits) error {
	switch {
	case e.IntelRdt != nil:
		return fmt.Errorf("it wants the Intel RDT class %q: siflet makes no resctrl groups", e.IntelRdt.ClosID)
	case len(e.NetDevices) > 0:
		return fmt.Errorf("it wants the network interface %s moved into the container: a container has its pod's network, to which siflet moves none",
			e.NetDevices[0].HostInterfaceName)
	}
	for _, m := range e.Mounts {
		if err := refuseMount(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.ContainerPath, err)
		}
	}
	for _, h := range e.Hooks {
		switch {
		case !path.IsAbs(h.Path):
			return fmt.Errorf("%s hook: the path %q is not absolute", h.HookName, h.Path)
		case h.Timeout != nil && *h.Timeout < 0:
			return fmt.Errorf("%s hook %s: a timeout of %d seconds", h.HookName, h.Path, *h.Timeout)
		}
	}
	return nil
}

// refuseMount refuses what depends on where this program runs, and the words of ours that
// plans have for mounts which no file can ask for.
func refuseMount(m *files.Mount) error {
	const own = "x-siflet."
	if strings.HasPrefix(m.Type, own) {
		return fmt.Errorf("unknown type %q", m.Type)
	}
	for _, option := range m.Options {
		if strings.HasPrefix(option, own) {
			return fmt.Errorf("unknown option %q", option)
		}
	}
	if isBind(m.Type, m.Options) && !path.IsAbs(m.HostPath) {
		return fmt.Errorf("hostPath %q is not absolute", m.HostPath)
	}
	return nil
}

func isBind(kind string, options []string) bool {
	return kind == "" || kind == "none" || kind == "bind" || slices.Contains(options, "bind") || slices.Contains(options, "rbind")
}

// Apply adds edits to what a container is made from.
func Apply(e *Edits, spec *specs.Spec) error {
	if e == nil {
		return nil
	}
	// Without rules every device can be used; one rule would forbid all others.
	free := spec.Linux != nil && spec.Linux.Resources != nil && len(spec.Linux.Resources.Devices) == 0
	// Of a copy: applying fills in what is left out.
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	copied := &Edits{}
	if err := json.Unmarshal(text, copied); err != nil {
		return err
	}
	if err := (&cdi.ContainerEdits{ContainerEdits: copied}).Apply(spec); err != nil {
		return err
	}
	if free {
		spec.Linux.Resources.Devices = nil
	}
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		if isBind(m.Type, m.Options) {
			m.Type = "bind"
		}
	}
	return nil
}
