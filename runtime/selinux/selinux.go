// Package selinux makes the SELinux labels of instances and containers, keeps the
// levels that it gives out apart from each other, and labels volumes.
//
// It refuses to know what an instance is. Of files it writes labels alone.
package selinux

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	oci "github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
)

// Options are what a label is asked to be; what is empty is left to the policy.
type Options struct {
	User  string `json:"user,omitempty"`
	Role  string `json:"role,omitempty"`
	Type  string `json:"type,omitempty"`
	Level string `json:"level,omitempty"`
}

// Labels are that of a process, that of the files which are its own, and that of
// images, which all may read. They are empty where nothing is labelled.
type Labels struct {
	Process string `json:"process,omitempty"`
	Mount   string `json:"mount,omitempty"`
	Image   string `json:"image,omitempty"`
}

// Supported reports whether the kernel runs SELinux.
func Supported() bool { return oci.GetEnabled() }

// Labeller gives out labels. A level that it makes up is nobody else's until all
// labels with it are released.
type Labeller struct {
	enabled bool
	pairs   int // of categories that there are

	mu   sync.Mutex
	held map[string]int // how many labels have the level
}

// New makes a labeller. One that is not enabled labels nothing. Levels are made of the
// first so many categories; 0 is as many as are usual.
func New(enabled bool, categories int) (*Labeller, error) {
	const most = int(oci.DefaultCategoryRange)
	if categories == 0 {
		categories = most
	}
	if categories < 2 || categories > most {
		return nil, fmt.Errorf("SELinux levels of %d categories: want 2 to %d", categories, most)
	}
	if err := oci.SetCategoryRange(uint32(categories)); err != nil {
		return nil, err
	}
	return &Labeller{enabled: enabled, pairs: categories * (categories - 1) / 2, held: map[string]int{}}, nil
}

// Make makes the labels that asked is about. What it leaves open is as in of, the
// labels of whom the new ones belong to, or else as the policy has it for containers,
// with a level of their own. Release them when they are used no more.
func (l *Labeller) Make(of Labels, asked Options) (Labels, error) {
	if !l.enabled {
		if asked != (Options{}) {
			return Labels{}, fmt.Errorf("label %v: SELinux is not in use on this node", asked)
		}
		return Labels{}, nil
	}
	wanted, err := asked.over(of.Process)
	if err != nil {
		return Labels{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if wanted.Level == "" && len(l.held) >= l.pairs {
		return Labels{}, fmt.Errorf("all %d SELinux levels are in use", l.pairs)
	}
	var out Labels
	if out.Process, out.Mount, err = label.InitLabels(wanted.list()); err != nil {
		return Labels{}, fmt.Errorf("label %v: %w", wanted, err)
	}
	out.Image = oci.ROFileLabel() //nolint:staticcheck // its only other way out is to read the policy's file ourselves
	l.holdLocked(out)
	if asked == (Options{}) {
		return out, nil
	}
	if err := known(out); err != nil {
		l.releaseLocked(out)
		return Labels{}, err
	}
	return out, nil
}

// known asks the kernel whether its policy has such labels.
func known(l Labels) error {
	if l.Process == "" {
		return errors.New("the node's SELinux policy names no labels for containers; install one that has a file contexts/lxc_contexts (container-selinux)")
	}
	for _, text := range []string{l.Process, l.Mount} {
		if err := oci.SecurityCheckContext(text); err != nil {
			return fmt.Errorf("the node's SELinux policy has no label %s: %w", text, err)
		}
	}
	return nil
}

// Hold keeps the level of labels, made by a former labeller, from being made again.
func (l *Labeller) Hold(labels Labels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holdLocked(labels)
}

// Release undoes Hold, or Make.
func (l *Labeller) Release(labels Labels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(labels)
}

func (l *Labeller) holdLocked(labels Labels) {
	level := levelOf(labels.Process)
	if level == "" {
		return
	}
	if l.held[level] == 0 {
		// That it is reserved already is what is wanted.
		_ = oci.ReserveLabelV2(labels.Process)
	}
	l.held[level]++
}

func (l *Labeller) releaseLocked(labels Labels) {
	level := levelOf(labels.Process)
	if l.held[level] == 0 {
		return
	}
	if l.held[level]--; l.held[level] == 0 {
		delete(l.held, level)
		oci.ReleaseLabel(labels.Process)
	}
}

func levelOf(text string) string {
	c, err := oci.NewContext(text)
	if err != nil {
		return ""
	}
	return c["level"]
}

// over fills what is left open from a label.
func (o Options) over(text string) (Options, error) {
	if text == "" {
		return o, nil
	}
	c, err := oci.NewContext(text)
	if err != nil {
		return o, fmt.Errorf("label %q: %w", text, err)
	}
	for key, field := range map[string]*string{"user": &o.User, "role": &o.Role, "type": &o.Type, "level": &o.Level} {
		if *field == "" {
			*field = c[key]
		}
	}
	return o, nil
}

// list is what InitLabels takes.
func (o Options) list() (out []string) {
	for _, f := range [][2]string{{"user", o.User}, {"role", o.Role}, {"type", o.Type}, {"level", o.Level}} {
		if f[1] != "" {
			out = append(out, f[0]+":"+f[1])
		}
	}
	return out
}

// String is the options as a label, with "?" for what is left open.
func (o Options) String() string {
	parts := []string{o.User, o.Role, o.Type, o.Level}
	for i, part := range parts {
		if part == "" {
			parts[i] = "?"
		}
	}
	return strings.Join(parts, ":")
}
