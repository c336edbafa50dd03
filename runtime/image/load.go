package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/record"
)

// load reads all records. Of a store that is not read-only, the caller has the turn.
func (s *Store) load() error {
	entries, problems, err := s.readEntries()
	if err != nil {
		return err
	}
	pins, unread, err := s.readPins()
	if err != nil {
		return err
	}
	for path, cause := range unread {
		// Pins are not synced: a power cut ends them as it ends their owners.
		if !s.readOnly {
			cause = errors.Join(cause, removeIfThere(path))
		}
		problems = append(problems, cause)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.pins, s.problems = entries, pins, problems
	return nil
}

func (s *Store) readEntries() (entries map[string]entry, problems []error, err error) {
	entries = map[string]entry{}
	err = s.eachFile(imagesDir, func(name string) {
		var e entry
		err := record.Read(filepath.Join(s.dir, imagesDir, name), &e)
		if errors.Is(err, os.ErrNotExist) {
			return // another process has just removed it
		}
		if err == nil && (!e.valid() || name != e.key()+suffix) {
			err = fmt.Errorf("image record %s: %w", name, record.ErrCorrupt)
		}
		if err != nil {
			problems = append(problems, err)
			return
		}
		if !e.InPlace && e.OCI == nil {
			e.Path = s.blob(e.ID)
		}
		entries[e.key()] = e
	})
	dropMovedReferences(entries)
	return entries, problems, err
}

// readPins reads the pins by owner, and says which files can't be read and why.
func (s *Store) readPins() (pins map[string]pin, unread map[string]error, err error) {
	pins, unread = map[string]pin{}, map[string]error{}
	err = s.eachFile(pinsDir, func(name string) {
		var p pin
		path := filepath.Join(s.dir, pinsDir, name)
		switch err := record.Read(path, &p); {
		case err == nil:
			pins[p.Owner] = p
		case !errors.Is(err, os.ErrNotExist):
			unread[path] = err
		}
	})
	return pins, unread, err
}

func (s *Store) eachFile(dir string, visit func(name string)) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			visit(e.Name())
		}
	}
	return nil
}

// dropMovedReferences settles a tag that two images have: the store was killed
// after it gave the tag to the newer one and before it took it from the older.
func dropMovedReferences(entries map[string]entry) {
	newest := map[string]string{}
	for key, e := range entries {
		for _, ref := range e.References {
			if other, ok := newest[ref]; !ok || entries[other].UpdatedAt.Before(e.UpdatedAt) {
				newest[ref] = key
			}
		}
	}
	for key, e := range entries {
		e.References = slices.DeleteFunc(e.References, func(ref string) bool { return newest[ref] != key })
		entries[key] = e
	}
}
