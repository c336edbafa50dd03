package trust

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// requirement is what a rule asks for.
type requirement string

const (
	accept requirement = "accept"
	reject requirement = "reject"
	signed requirement = "signed"
)

// rule is one rule of the policy.
type rule struct {
	number     int
	images     []pattern
	namespaces []*regexp.Regexp // nil: all, and people
	require    requirement
	keys       []keyEntry
	all        bool
}

// keyEntry is one entry of a rule's list of keys: a fingerprint, or a file that may
// hold several keys, any of which will do.
type keyEntry struct {
	text string
	keys []*Key
}

func (r *rule) String() string {
	var texts []string
	for _, p := range r.images {
		texts = append(texts, p.text)
	}
	return fmt.Sprintf("rule %d (%s)", r.number, strings.Join(texts, ", "))
}

// ruleset is a policy file that was read and found good.
type ruleset struct {
	fallback requirement
	rules    []rule
	keys     []*Key
	absent   bool // there is no file
}

func (r *rule) inNamespace(namespace string) bool {
	return r.namespaces == nil || namespace != "" &&
		slices.ContainsFunc(r.namespaces, func(g *regexp.Regexp) bool { return g.MatchString(namespace) })
}

func (r *rule) names(n imageName) bool {
	return slices.ContainsFunc(r.images, func(p pattern) bool { return p.matches(n, r.require != accept) })
}

// demands are the rules that decide about an image with these names: for each
// name the first one that matches. A name without one has no say if another has
// one; an image without any name gets all that are strict. None: the default decides.
func (s *ruleset) demands(names []imageName, namespace string) []*rule {
	var found []*rule
	add := func(r *rule) {
		if !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	for _, n := range names {
		for i := range s.rules {
			if r := &s.rules[i]; r.inNamespace(namespace) && r.names(n) {
				add(r)
				break
			}
		}
	}
	if len(names) == 0 {
		for i := range s.rules {
			if r := &s.rules[i]; r.inNamespace(namespace) && r.require != accept {
				add(r)
			}
		}
	}
	return found
}

// attached says whether in any namespace signatures beside the image in its
// registry may be asked for.
func (s *ruleset) attached(references []string) bool {
	for _, n := range namesOf(references, nil) {
		if n.isPath {
			continue
		}
		for i := range s.rules {
			if r := &s.rules[i]; r.require == signed && r.names(n) {
				return true
			}
		}
	}
	return false
}

// satisfied asks of every entry, or of one, that one of its keys approves.
func (r *rule) satisfied(approved func(*Key) error) error {
	var faults []error
	for _, e := range r.keys {
		err := e.satisfied(approved)
		if err == nil && !r.all {
			return nil
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	if r.all && len(faults) == 0 {
		return nil
	}
	// Of several, the fault that says most.
	telling := slices.IndexFunc(faults, func(err error) bool { return !errors.Is(err, ErrUnsigned) })
	return faults[max(telling, 0)]
}

func (e *keyEntry) satisfied(approved func(*Key) error) error {
	err := errors.New("no key")
	for _, k := range e.keys {
		if err = approved(k); err == nil {
			return nil
		}
	}
	return err
}

// signers says whose signatures the rule wants.
func (r *rule) signers() string {
	const most = 3
	var list []string
	for _, e := range r.keys[:min(len(r.keys), most)] {
		list = append(list, e.text)
	}
	if n := len(r.keys) - most; n > 0 {
		list = append(list, fmt.Sprintf("%d more", n))
	}
	if r.all {
		return strings.Join(list, " and ")
	}
	return strings.Join(list, " or ")
}
