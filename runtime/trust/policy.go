package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// Policy says whose signature an image needs. The zero value and nil let every
// image run. It follows its file: a change counts from the next Check on, and as long
// as the file is broken no image may run.
type Policy struct {
	file   atomic.Pointer[PolicyFile]
	loaded atomic.Pointer[loadedPolicy]
}

// PolicyFile says where a policy is.
type PolicyFile struct {
	Path string
	// Optional says that without the file every image may run, for a place where one
	// may be: what nobody asked for can't be missed. A file that somebody named and
	// that is not there is a mistake, and lets no image run.
	Optional bool
	// Log hears when the file breaks, goes, comes back or changes; nil is nobody.
	Log *slog.Logger
}

// loadedPolicy is what was read, when the files had these stamps.
type loadedPolicy struct {
	file  *PolicyFile
	files []watched
	read  time.Time
	sum   [sha256.Size]byte
	rules *ruleset
	err   error
	// known is what was found of SIF files with the keys of these rules.
	known *reports
}

// NewPolicy is the policy in a file, which is read when it is first needed.
// Fingerprints are looked up in the directory "keys" beside the file.
func NewPolicy(f PolicyFile) *Policy {
	p := &Policy{}
	p.file.Store(&f)
	return p
}

// Change makes it the policy in another file from the next Check on.
func (p *Policy) Change(f PolicyFile) {
	if old := p.file.Load(); old == nil || *old != f {
		p.file.Store(&f)
	}
}

// Err says why no image may run, if the file, or a key that it names, can't be read
// now.
func (p *Policy) Err() error {
	if p.none() {
		return nil
	}
	_, err := p.current()
	return err
}

// none says that there is no file to ask.
func (p *Policy) none() bool { return p == nil || p.path() == "" }

func (p *Policy) path() string {
	if f := p.file.Load(); f != nil {
		return f.Path
	}
	return ""
}

// current is the policy as it is on disk now: one stat for every file if
// none has changed.
func (p *Policy) current() (*loadedPolicy, error) {
	held, file := p.loaded.Load(), p.file.Load()
	old := held
	if old != nil && old.file != file {
		old = nil
	}
	if old != nil && old.fresh() {
		return old, old.err
	}
	now := readPolicy(file)
	if old != nil && old.err == nil && now.err == nil && old.sum == now.sum {
		// Only touched: what was found with these keys still holds.
		now.rules, now.known = old.rules, old.known
	}
	// Of those who saw the change at once, one tells of it.
	if p.loaded.CompareAndSwap(held, now) && file.Log != nil {
		now.tell(old)
	}
	return now, now.err
}

// tell logs what has become of the file.
func (l *loadedPolicy) tell(old *loadedPolicy) {
	log := l.file.Log.With("policy", l.file.Path)
	switch {
	case l.err != nil:
		if old == nil || old.err == nil || old.err.Error() != l.err.Error() {
			log.Error("the policy is of no use, so no image may be pulled or started until it is mended", "error", l.err)
		}
	case old == nil:
	case old.err != nil:
		log.Info("the policy is mended")
	case l.rules.absent && !old.rules.absent:
		log.Warn("the policy was removed, so every image may run")
	case old.sum != l.sum:
		log.Info("the policy has changed")
	}
}

func readPolicy(f *PolicyFile) *loadedPolicy {
	var r policyReader
	l := &loadedPolicy{file: f, read: time.Now()}
	l.rules, l.err = r.policy(*f)
	if l.err != nil {
		l.err = fmt.Errorf("policy %s: %w", f.Path, unwrapPath(l.err))
	} else {
		l.known = newReports(l.rules.keys)
	}
	l.files, l.sum = r.files, sha256.Sum256([]byte(r.text.String()))
	return l
}

// fresh says whether all files are what they were, and would show it if not.
func (l *loadedPolicy) fresh() bool {
	for _, f := range l.files {
		now := stampOf(f.path)
		if now != f.stamp || now != (stamp{}) && !now.settled(l.read) {
			return false
		}
	}
	return true
}

// Check says whether the subject may run: nil, or an ErrPolicy that says which
// rule wants what. Any other error, such as ctx's, means that it could not be
// found out: the subject must not run either.
//
// For every reference the first rule that matches it and the namespace decides,
// so that an image with several names must satisfy all those rules: none of its
// names is a way around another. An ID is no name; an image without names
// must satisfy every rule that doesn't accept. Where no rule matches, the
// default decides.
func (p *Policy) Check(ctx context.Context, s Subject) error {
	if p.none() {
		return nil
	}
	policy, err := p.current()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	demands := policy.rules.demands(s.names(), s.Namespace)
	if len(demands) == 0 && policy.rules.fallback == reject {
		return fmt.Errorf("%w: %s: policy %s: no rule accepts it, and the default rejects", ErrPolicy, s.label(), policy.file.Path)
	}
	for _, r := range demands {
		err := policy.check(ctx, s, r)
		if stopped := ctx.Err(); err != nil && stopped != nil {
			return fmt.Errorf("check the signatures of %s: %w", s.label(), stopped)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: policy %s: %s %w", ErrPolicy, s.label(), policy.file.Path, r, err)
		}
	}
	return nil
}

func (l *loadedPolicy) check(ctx context.Context, s Subject, r *rule) error {
	switch r.require {
	case accept:
		return nil
	case signed:
	default:
		return errors.New("rejects it")
	}
	var file *report
	if s.Path != "" {
		var err error
		if file, err = l.known.of(ctx, s.Path); err != nil {
			return fmt.Errorf("wants a signature by %s: %w", r.signers(), err)
		}
	}
	now := time.Now()
	err := r.satisfied(func(k *Key) error { return s.approved(file, k, now) })
	if err != nil {
		return fmt.Errorf("wants a signature by %s: %w", r.signers(), err)
	}
	return nil
}

// approved says why the key doesn't speak for the subject, if it doesn't.
func (s *Subject) approved(file *report, k *Key, now time.Time) error {
	if err := k.alive(now); err != nil {
		return err
	}
	attached := s.attachedBy(k)
	if attached == nil || file == nil {
		return attached
	}
	return file.approved(k, now)
}

// names are the subject's. Paths are taken as they are written and as they
// resolve, images in libraries in all their spellings.
func (s *Subject) names() []imageName {
	refs := slices.Clone(s.References)
	for _, ref := range s.References {
		refs = append(refs, libraryNames(ref)...)
		file, ok := pathOf(ref)
		if !ok {
			continue
		}
		for _, path := range []string{file, s.Path} {
			if path == "" {
				continue
			}
			refs = append(refs, path)
			if target, err := filepath.EvalSymlinks(path); err == nil {
				refs = append(refs, target)
			}
		}
	}
	slices.Sort(refs)
	return namesOf(slices.Compact(refs), s.Manifests)
}

// label is how messages name the subject.
func (s *Subject) label() string {
	for _, ref := range s.References {
		return printable(ref)
	}
	for _, name := range []string{s.ID, s.Path} {
		if name != "" {
			return printable(name)
		}
	}
	return "image without a name"
}

// Attached says whether, in any namespace, the policy wants signatures that are
// attached in the registry for one of these references.
func (p *Policy) Attached(references []string) bool {
	if p.none() {
		return false
	}
	policy, err := p.current()
	return err == nil && policy.rules.attached(references)
}
