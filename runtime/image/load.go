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

func (s *Store) load() error {
	err := s.eachFile(imagesDir, func(name string) {
		var e entry
		err := record.Read(filepath.Join(s.dir, imagesDir, name), &e)
		if err == nil && (!e.valid() || name != e.key()+suffix) {
			err = fmt.Errorf("image record %s: %w", name, record.ErrCorrupt)
		}
		if err != nil {
			s.problems = append(s.problems, err)
			return
		}
		if !e.InPlace {
			e.Path = s.blob(e.ID)
		}
		s.entries[e.key()] = e
	})
	if err != nil {
		return err
	}
	s.dropMovedReferences()
	return s.eachFile(pinsDir, func(name string) {
		var p pin
		path := filepath.Join(s.dir, pinsDir, name)
		if err := record.Read(path, &p); err != nil {
			// Pins are not synced: a power cut ends them as it ends their owners.
			if !s.readOnly {
				err = errors.Join(err, removeIfThere(path))
			}
			s.problems = append(s.problems, err)
			return
		}
		s.pins[p.Owner] = p
	})
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
func (s *Store) dropMovedReferences() {
	newest := map[string]string{}
	for key, e := range s.entries {
		for _, ref := range e.References {
			if other, ok := newest[ref]; !ok || s.entries[other].UpdatedAt.Before(e.UpdatedAt) {
				newest[ref] = key
			}
		}
	}
	for key, e := range s.entries {
		e.References = slices.DeleteFunc(e.References, func(ref string) bool { return newest[ref] != key })
		s.entries[key] = e
	}
}

// clean removes what no record speaks of: temporary files of records, imported
// files without a record, and images without a reference or a pin.
func (s *Store) clean() error {
	var err error
	for key, e := range s.entries {
		if len(e.References) == 0 {
			_, forgetErr := s.forget(key)
			err = errors.Join(err, forgetErr)
		}
	}
	for _, dir := range []string{imagesDir, pinsDir} {
		stale, globErr := filepath.Glob(filepath.Join(s.dir, dir, ".*.tmp"))
		err = errors.Join(err, globErr)
		for _, path := range stale {
			err = errors.Join(err, os.Remove(path))
		}
	}
	if len(s.problems) > 0 {
		// A file without a record may be that of the record we can't read.
		return err
	}
	blobs, readErr := os.ReadDir(filepath.Join(s.dir, blobsDir))
	err = errors.Join(err, readErr)
	for _, b := range blobs {
		id := idScheme + strings.TrimSuffix(b.Name(), ".sif")
		if _, ok := s.entries[entry{ID: id}.key()]; !ok {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, blobsDir, b.Name())))
		}
	}
	return err
}
