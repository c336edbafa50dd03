package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/trust"
)

// errGone says that a file of the image, which the store had, is gone again:
// another process has removed the last image with it.
var errGone = errors.New("a layer was removed meanwhile")

// commit gives an image that is complete its place: files go from where they are
// made to where they belong in the store, then the record is written, in one
// turn, so that nobody takes them for left over. Names that another image has
// move. Of an image that the store has, only what is new is written.
func (s *Store) commit(ctx context.Context, e entry, files map[string]string) (Image, error) {
	moved := map[string]string{}
	image, err := s.commitInTurn(ctx, e, files, moved)
	if s.options.Moved != nil {
		for _, name := range slices.Sorted(maps.Keys(moved)) {
			s.options.Moved(name, moved[name])
		}
	}
	return image, err
}

// commitInTurn is commit. It adds to moved the names that another image had, and its ID.
func (s *Store) commitInTurn(ctx context.Context, e entry, files, moved map[string]string) (Image, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return Image{}, err
	}
	defer end()
	placed, err := s.place(e.files(), files)
	if err != nil {
		return Image{}, errors.Join(err, s.unplace(placed))
	}
	s.mu.Lock()
	old, known := s.entries[e.key()]
	s.mu.Unlock()
	merged := e.merge(old)
	if !known || len(placed) > 0 || !merged.same(old) {
		merged.UpdatedAt = time.Now()
		if err := s.save(merged); err != nil {
			return Image{}, errors.Join(err, s.unplace(placed))
		}
	}
	for _, ref := range e.References {
		if err := s.takeReference(ref, e.key(), moved); err != nil {
			return Image{}, err
		}
	}
	return s.image(merged)
}

// place moves the files that are not in their places yet, and returns them. A file
// that is there stays, since it may be mounted and has the same content.
func (s *Store) place(want []string, made map[string]string) (placed []string, err error) {
	dirs := map[string]bool{}
	for _, file := range want {
		to, from := filepath.Join(s.dir, file), made[file]
		before, missing := os.Stat(to)
		switch {
		case from == "" && missing != nil:
			return placed, fmt.Errorf("%w: %s", errGone, file)
		case from == "":
			continue
		case missing == nil && !before.IsDir() && sameSize(before, from):
			continue
		}
		err := os.Rename(from, to)
		if missing == nil && errors.Is(err, os.ErrExist) {
			continue // a directory that has all there is to have
		}
		if err != nil {
			// Another pull of this process has shared it and was faster.
			if _, there := os.Stat(to); !errors.Is(err, os.ErrNotExist) || there != nil {
				return placed, err
			}
			continue
		}
		placed = append(placed, file)
		dirs[filepath.Dir(to)] = true
	}
	for dir := range dirs {
		if err := record.SyncDir(dir); err != nil {
			return placed, err
		}
	}
	return placed, nil
}

func sameSize(info os.FileInfo, path string) bool {
	other, err := os.Stat(path)
	return err != nil || other.Size() == info.Size()
}

// unplace removes files that got their place but no record.
func (s *Store) unplace(placed []string) error {
	s.mu.Lock()
	needed := s.neededLocked()
	s.mu.Unlock()
	var err error
	for _, file := range placed {
		if !needed[file] {
			err = errors.Join(err, s.removeStored(file))
		}
	}
	return err
}

// merge adds what an older record knows.
func (e entry) merge(old entry) entry {
	e.References = union(old.References, e.References)
	e.Digests = union(old.Digests, e.Digests)
	e.Manifests = union(old.Manifests, e.Manifests)
	e.Kept = e.Kept || old.Kept
	e.UpdatedAt = old.UpdatedAt
	if e.Source == "" || old.Source != "" && len(old.Digests) > 0 {
		e.Source = old.Source
	}
	signatures := slices.Clone(old.Signatures)
	for _, signature := range e.Signatures {
		if !slices.ContainsFunc(signatures, func(s trust.Signature) bool { return sameSignature(s, signature) }) {
			signatures = append(signatures, signature)
		}
	}
	const most = 256
	e.Signatures = signatures[max(0, len(signatures)-most):]
	return e
}

func sameSignature(a, b trust.Signature) bool {
	return a.Signature == b.Signature && string(a.Payload) == string(b.Payload) && string(a.Bundle) == string(b.Bundle)
}

// same says that a record needn't be written again.
func (e entry) same(old entry) bool {
	sameContent := (e.OCI == nil) == (old.OCI == nil) && (e.OCI == nil || slices.Equal(e.OCI.Layers, old.OCI.Layers))
	return sameContent && slices.Equal(e.References, old.References) && slices.Equal(e.Digests, old.Digests) &&
		slices.Equal(e.Manifests, old.Manifests) && slices.EqualFunc(e.Signatures, old.Signatures, sameSignature)
}

// takeReference removes the reference from every record but one, and adds to moved whose
// it was.
func (s *Store) takeReference(ref, keep string, moved map[string]string) error {
	var err error
	for _, e := range s.records() {
		if e.key() == keep || !slices.Contains(e.References, ref) {
			continue
		}
		e.References = slices.DeleteFunc(slices.Clone(e.References), func(r string) bool { return r == ref })
		moved[ref] = e.ID
		err = errors.Join(err, s.saveOrForget(e))
	}
	return err
}
