package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/record"
)

// Pin keeps the image with the ID on disk until its owner unpins. Pinning twice
// for one owner is one pin. A file in place is never deleted, so it needs no pin
// and gets none.
func (s *Store) Pin(id, owner string) error {
	if !s.readOnly && s.inPlaceOnly(id) {
		return nil
	}
	end, err := s.begin(context.Background())
	if err != nil {
		return err
	}
	defer end()
	s.mu.Lock()
	known, old := s.knownLocked(id), s.pins[owner]
	s.mu.Unlock()
	if !known {
		return &kindError{ErrNotFound, fmt.Errorf("pin image %s: not found", id)}
	}
	if slices.Contains(old.IDs, id) {
		return nil
	}
	p := pin{Version: formatVersion, Owner: owner, IDs: append(slices.Clone(old.IDs), id)}
	if err := record.WriteVolatile(s.pinPath(owner), p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[owner] = p
	return nil
}

// inPlaceOnly says that the ID is that of a file in place, which was looked up.
func (s *Store) inPlaceOnly(id string) bool {
	digits, ok := strings.CutPrefix(id, idScheme)
	return ok && len(digits) == idLength && len(s.files.byID(digits)) > 0
}

// Unpin drops the owner's pins. An image that was removed while it was pinned is
// deleted with its last pin. An owner without pins is fine.
func (s *Store) Unpin(owner string) error {
	if !s.readOnly && s.refresh() == nil && !s.owns(owner) {
		return nil
	}
	end, err := s.begin(context.Background())
	if err != nil {
		return err
	}
	defer end()
	s.mu.Lock()
	p, ok := s.pins[owner]
	delete(s.pins, owner)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	err = removeIfThere(s.pinPath(owner))
	for _, id := range p.IDs {
		if key := (entry{ID: id}).key(); s.orphan(key) {
			_, forgetErr := s.forget(key)
			err = errors.Join(err, forgetErr)
		}
	}
	return err
}

func (s *Store) owns(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.pins[owner]
	return ok
}

// Owners are those who have pins, sorted: what a new agent compares with the
// containers it finds.
func (s *Store) Owners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.pins))
}

// Remove removes the image and every reference to it. Of a file in place only
// the references go. A pinned image goes when its last pin does; until then it
// is found by its ID alone. A kept image goes too: who names it means it.
// Removing what is not there succeeds.
func (s *Store) Remove(ctx context.Context, ref string) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	entries, err := s.named(ref)
	for _, e := range entries {
		e.References, e.Digests, e.Kept = nil, nil, false
		err = errors.Join(err, s.saveOrForget(e))
	}
	return err
}

// named finds the records that a reference means, whatever has become of the
// files.
func (s *Store) named(ref string) ([]entry, error) {
	path, isPath, err := asPath(ref)
	if err != nil {
		return nil, err
	}
	if !isPath {
		if e, ok := s.byName(ref); ok {
			return []entry{e}, nil
		}
	}
	var found []entry
	digits, isID := idDigits(ref)
	resolved, resolveErr := filepath.EvalSymlinks(path)
	for _, e := range s.snapshot() {
		switch {
		case isPath && e.InPlace && (e.Path == path || resolveErr == nil && e.Path == resolved ||
			slices.ContainsFunc(e.References, namesPath(path))):
			found = append(found, e)
		case !isPath && isID && (matches(e.ID, digits) || matches(s.currentID(e), digits)):
			found = append(found, e)
		}
	}
	if !isPath && len(found) > 1 {
		return nil, &kindError{ErrInvalid, fmt.Errorf("image %q: %d images have IDs that begin so", ref, len(found))}
	}
	return found, nil
}

func namesPath(path string) func(string) bool {
	return func(ref string) bool {
		p, ok, err := asPath(ref)
		return ok && err == nil && p == path
	}
}

// currentID is the ID of a record's file as it is now, empty if it is not there.
func (s *Store) currentID(e entry) string {
	if !e.InPlace {
		return e.ID
	}
	image, err := s.files.open(e.Path, nil)
	if err != nil {
		return ""
	}
	return image.ID
}

// saveOrForget writes an entry that lost references, or removes the image if it
// has none left and nobody needs it. The caller has the turn.
func (s *Store) saveOrForget(e entry) error {
	if e.unwanted() {
		if gone, err := s.forget(e.key()); gone || err != nil {
			return err
		}
	}
	return s.save(e)
}

// orphan says that an image has neither a name nor a pin, and nobody keeps it.
func (s *Store) orphan(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	return ok && e.unwanted() && !s.pinnedLocked(e.ID)
}

func (s *Store) pinned(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pinnedLocked(id)
}

func (s *Store) pinnedLocked(id string) bool {
	for _, p := range s.pins {
		if slices.Contains(p.IDs, id) {
			return true
		}
	}
	return false
}

func (s *Store) knownLocked(id string) bool {
	for _, e := range s.entries {
		if e.ID == id {
			return true
		}
	}
	return false
}

func (s *Store) pinPath(owner string) string {
	return filepath.Join(s.dir, pinsDir, shortHash(owner)+suffix)
}
