package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// File reads the SIF at path, of no store. The errors are those of Lookup.
func File(path string) (Image, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Image{}, err
	}
	p := parser{parsed: map[string]parsedFile{}}
	return p.open(path)
}

// Lookup finds an image by path ("/abs/x.sif", "sif:///abs/x.sif"), by tag
// ("web", "web:latest"), by ID, or by the beginning of an ID that only one image
// has. A path that was never pulled is found too if there is a SIF that runs
// here. What is not there is ErrNotFound; what is of no use ErrInvalid or
// ErrUnsupported.
func (s *Store) Lookup(ref string) (Image, error) {
	name, id, pinned := strings.Cut(ref, "@"+idScheme)
	// "/abs/x.sif@sha256:...", as lists show it, is the file while it is that image.
	path, ok, err := asPath(name)
	if err != nil {
		return Image{}, err
	}
	if ok {
		image, err := s.files.open(path)
		if err != nil {
			return Image{}, err
		}
		if pinned && image.ID != idScheme+id {
			return Image{}, fmt.Errorf("%s is another image now, %s: %w", path, image.ID, ErrNotFound)
		}
		return s.inPlace(image, name), nil
	}
	if e, ok := s.byTag(ref); ok {
		return s.image(e)
	}
	return s.byID(ref)
}

// List returns the images that have been pulled or imported. One whose file is
// not there now, or no longer of use, is left out: the rest must stay in sight.
func (s *Store) List() ([]Image, error) {
	var list []Image
	for _, e := range s.snapshot() {
		image, err := s.image(e)
		lost := errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported)
		if err != nil && !e.InPlace && !lost {
			return nil, err
		}
		if err == nil {
			list = append(list, image)
		}
	}
	return list, nil
}

// image is the image of a record, as the file is now.
func (s *Store) image(e entry) (Image, error) {
	image, err := s.files.open(e.Path)
	if err != nil {
		return Image{}, err
	}
	image.References = slices.Clone(e.References)
	if !e.InPlace {
		image.ID, image.InPlace, image.CreatedAt = e.ID, false, e.UpdatedAt
	}
	image.Pinned = s.pinned(image.ID)
	return image, nil
}

// inPlace adds what is known of a file that was opened by path.
func (s *Store) inPlace(image Image, ref string) Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	image.References = []string{ref}
	if e, ok := s.entries[(entry{Path: image.Path, InPlace: true}).key()]; ok && len(e.References) > 0 {
		image.References = slices.Clone(e.References)
	}
	image.Pinned = s.pinnedLocked(image.ID)
	return image
}

func (s *Store) byTag(ref string) (entry, bool) {
	name, digest, pinnedToDigest := strings.Cut(ref, "@")
	tag, err := normalTag(name)
	if err != nil {
		return entry{}, false
	}
	for _, e := range s.snapshot() {
		if pinnedToDigest {
			if e.ID == digest && !e.InPlace && slices.ContainsFunc(e.References, sameName(tag)) {
				return e, true
			}
		} else if slices.Contains(e.References, tag) {
			return e, true
		}
	}
	return entry{}, false
}

// sameName compares all but the part after the last ':'.
func sameName(tag string) func(string) bool {
	return func(ref string) bool {
		i, j := strings.LastIndexByte(tag, ':'), strings.LastIndexByte(ref, ':')
		return i > 0 && j > 0 && tag[:i] == ref[:j]
	}
}

// byID finds an image by its ID or the beginning of it: those with a record, and
// files in place that were looked up by path before.
func (s *Store) byID(ref string) (Image, error) {
	notFound := &kindError{ErrNotFound, fmt.Errorf("image %q: not found", ref)}
	digits, ok := idDigits(ref)
	if !ok {
		return Image{}, notFound
	}
	found := map[string]Image{}
	for _, e := range s.snapshot() {
		if e.InPlace || matches(e.ID, digits) {
			// Whether a file in place matches depends on what it is now.
			image, err := s.image(e)
			if err == nil && matches(image.ID, digits) {
				found[image.ID] = image
			}
			if err != nil && !e.InPlace {
				return Image{}, err
			}
		}
	}
	for _, path := range s.files.byID(digits) {
		if strings.HasPrefix(path, s.dir+"/") {
			continue
		}
		image, err := s.files.open(path)
		if _, known := found[image.ID]; err == nil && !known && matches(image.ID, digits) {
			found[image.ID] = s.inPlace(image, path)
		}
	}
	if len(found) > 1 {
		return Image{}, &kindError{ErrInvalid, fmt.Errorf("image %q: %d images have IDs that begin so", ref, len(found))}
	}
	for _, image := range found {
		return image, nil
	}
	return Image{}, notFound
}

func matches(id, digits string) bool { return strings.HasPrefix(id, idScheme+digits) }
