package runtime

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/selinux"
)

// SELinux is what a label is asked to be.
type SELinux = selinux.Options

// Labels are SELinux's, of a process and of its files.
type Labels = selinux.Labels

// SELinuxRuns reports whether the machine's kernel runs SELinux.
func SELinuxRuns() bool { return selinux.Supported() }

// holdLabels keeps the levels of an instance that was taken over from being given
// out again.
func (e *Engine) holdLabels(i *instance) {
	e.labels.Hold(i.rec.Labels)
	for _, c := range i.containers {
		e.labels.Hold(c.rec.Labels)
	}
}

func (e *Engine) labelInstance(i *instance) error {
	labels, err := e.labels.Make(selinux.Labels{}, i.rec.Spec.SELinux)
	if err != nil {
		return as(ErrInvalid, err)
	}
	i.mu.Lock()
	i.rec.Labels = labels
	i.mu.Unlock()
	return nil
}

// labelContainer is undone by forget.
func (e *Engine) labelContainer(c *container, rec *containerRecord) error {
	labels, err := e.labels.Make(c.inst.rec.Labels, rec.Spec.SELinux)
	if err != nil {
		return as(ErrInvalid, err)
	}
	rec.Labels = labels
	c.inst.mu.Lock()
	c.rec.Labels = labels
	c.inst.mu.Unlock()
	return nil
}

// labels are those in effect: a privileged container's process has none, but files
// that it shares with others have.
func (r *containerRecord) labels() selinux.Labels {
	labels := r.Labels
	if r.Spec.Security.Privileged {
		labels.Process = ""
	}
	return labels
}

// labelled are the extents with a label.
func labelled(extents []program.Extent, label string) []program.Extent {
	if label == "" {
		return extents
	}
	out := slices.Clone(extents)
	for i := range out {
		if out[i].FS != "directory" { // it has the label that it has on the host
			out[i].Label = label
		}
	}
	return out
}

// relabels says that a container's label is wanted on what is mounted.
func (m *Mount) relabels() bool {
	return m.Relabel && m.Image == "" && (m.Type == "" || m.Type == "bind")
}

// checkRelabels refuses what must not be labelled before anything is.
func checkRelabels(rec *containerRecord) error {
	if rec.Labels.Mount == "" {
		return nil
	}
	for i := range rec.Spec.Mounts {
		m := &rec.Spec.Mounts[i]
		if !m.relabels() {
			continue
		}
		if _, err := selinux.CheckSource(m.Source); err != nil {
			return as(ErrInvalid, fmt.Errorf("mount %s: %w", m.Target, err))
		}
	}
	return nil
}

// relabel gives a container's label to its volumes that are to have it, and to the
// instance's files in its /etc.
func relabel(c *container, rec *containerRecord) error {
	to := rec.Labels.Mount
	if to == "" {
		return nil
	}
	for _, name := range []string{hostsFile, hostnameFile, resolvFile} {
		if err := selinux.Relabel(filepath.Join(c.inst.run, name), to); err != nil {
			return fmt.Errorf("mount /etc/%s: %w", name, err)
		}
	}
	for i := range rec.Spec.Mounts {
		m := &rec.Spec.Mounts[i]
		if !m.relabels() {
			continue
		}
		if err := selinux.Relabel(m.Source, to); err != nil {
			return as(ErrInvalid, fmt.Errorf("mount %s: %w", m.Target, err))
		}
	}
	return nil
}
