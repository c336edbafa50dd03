package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/registry"
)

// File reads the SIF at path, of no store. The errors are those of Lookup.
func File(path string) (Image, error) { return FileFor(path, "") }

// FileFor is File for a machine of another architecture, a GOARCH name.
func FileFor(path, arch string) (Image, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Image{}, err
	}
	p := parser{arch: arch, parsed: map[string]parsedFile{}}
	return p.open(path, nil)
}

// Lookup finds an image by path ("/abs/x.sif", "sif:///abs/x.sif"), by name in
// any spelling ("web", "docker.io/library/web:latest", "docker://web"), by name and digest
// ("web@sha256:..."), by what it was pulled from ("library://me/web"), by ID, or by the
// beginning of an ID that only one image has. A path that was never pulled is found too if there is a SIF that runs
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
		image, err := s.files.open(path, s.options.Dirs)
		if err != nil {
			return Image{}, err
		}
		if pinned && image.ID != idScheme+id {
			return Image{}, fmt.Errorf("%s is another image now, %s: %w", path, image.ID, ErrNotFound)
		}
		return s.inPlace(image, name), nil
	}
	if err := s.readable(ref); err != nil {
		return Image{}, err
	}
	if e, ok := s.byName(ref); ok {
		return s.image(e)
	}
	return s.byID(ref)
}

// readable says of a reference to an archive whether it is one that may be read.
func (s *Store) readable(ref string) error {
	if !isArchive(ref) {
		return nil
	}
	full, err := located(ref)
	if err != nil {
		return err
	}
	return s.options.Dirs.reference(full)
}

// usable says whether an image that the store has may be used by its ID: if it has a name
// that may be used, or none any more.
func (s *Store) usable(e entry) error {
	if e.InPlace || len(e.Digests) > 0 {
		return nil
	}
	var denied error
	for _, ref := range e.References {
		err := s.readable(ref)
		if err == nil {
			return nil
		}
		denied = err
	}
	return denied
}

// List returns the images that have been pulled or imported. One whose file is
// not there now, or no longer of use, is left out: the rest must stay in sight.
func (s *Store) List() ([]Image, error) {
	var list []Image
	for _, e := range s.snapshot() {
		image, err := s.imageByID(e)
		lost := errors.Is(err, ErrDenied) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported)
		if err != nil && !e.InPlace && !lost {
			return nil, err
		}
		if err == nil {
			list = append(list, image)
		}
	}
	return list, nil
}

// image is the image of a record, as its files are now.
func (s *Store) image(e entry) (image Image, err error) {
	if e.OCI != nil {
		image, err = s.ociImage(e)
	} else {
		image, err = s.files.open(e.Path, s.dirsOf(e))
		if err != nil && !e.InPlace && errors.Is(err, ErrNotFound) {
			err = damaged(err)
		}
	}
	if err != nil {
		return Image{}, err
	}
	e.describe(&image)
	if !e.InPlace {
		image.ID, image.InPlace, image.CreatedAt = e.ID, false, e.UpdatedAt
	}
	image.Pinned = s.pinned(image.ID)
	return image, nil
}

// dirsOf are the directories that a record's file must be in.
func (s *Store) dirsOf(e entry) *Dirs {
	if e.InPlace {
		return s.options.Dirs
	}
	return nil
}

// describe adds what a record knows of an image.
func (e entry) describe(image *Image) {
	image.References, image.Kept = slices.Clone(e.References), e.Kept
	image.Digests, image.Manifests = slices.Clone(e.Digests), slices.Clone(e.Manifests)
	image.Signatures, image.Source = slices.Clone(e.Signatures), e.Source
	image.Known = true
}

// inPlace adds what is known of a file that was opened by path. A link to it stays
// among its names: rules may speak of the one or the other.
func (s *Store) inPlace(image Image, ref string) Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[(entry{Path: image.Path, InPlace: true}).key()]; ok {
		e.describe(&image)
	}
	path, _, _ := asPath(ref) // it was opened
	named := slices.ContainsFunc(image.References, namesPath(path))
	image.Known = image.Known && (named || path == image.Path)
	if !named {
		image.References = union(image.References, []string{ref})
	}
	image.Pinned = s.pinnedLocked(image.ID)
	return image
}

// byName finds a record by one of its names: a tag, a digest in a registry, or
// where it was pulled from.
func (s *Store) byName(ref string) (entry, bool) {
	name, err := canonical(ref)
	if err != nil {
		return entry{}, false
	}
	matches := func(e entry) bool { return slices.Contains(e.References, name) }
	if _, ok := inRegistry(ref); ok {
		if parsed, err := parseName(ref); err == nil && parsed.Digest != "" {
			matches = func(e entry) bool { return e.hasDigest(parsed) }
		}
	}
	for _, e := range s.snapshot() {
		if matches(e) {
			return e, true
		}
	}
	return entry{}, false
}

// hasDigest says that the image has the digest under that name: its own ID, if
// it is a SIF file, or that of a manifest.
func (e entry) hasDigest(ref registry.Reference) bool {
	if slices.Contains(e.Digests, ref.Name()+"@"+ref.Digest) {
		return true
	}
	own := e.ID == ref.Digest && !e.InPlace && e.OCI == nil
	if !own && !slices.Contains(e.Manifests, ref.Digest) {
		return false
	}
	named := func(name string) bool {
		rest, ok := strings.CutPrefix(name, ref.Name())
		return ok && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "@"))
	}
	return slices.ContainsFunc(e.References, named) || slices.ContainsFunc(e.Digests, named)
}

// byID finds an image by its ID or the beginning of it: those with a record, and
// files in place that were looked up by path before.
func (s *Store) byID(ref string) (Image, error) {
	digits, ok := idDigits(ref)
	if !ok {
		return only(ref, nil, nil)
	}
	found := map[string]Image{}
	var denied error
	for _, e := range s.snapshot() {
		if e.InPlace || matches(e.ID, digits) {
			// Whether a file in place matches depends on what it is now.
			image, err := s.imageByID(e)
			if err == nil && matches(image.ID, digits) {
				found[image.ID] = image
			}
			if errors.Is(err, ErrDenied) && matches(e.ID, digits) {
				denied = err
			} else if err != nil && !e.InPlace {
				return Image{}, err
			}
		}
	}
	for _, path := range s.files.byID(digits) {
		if strings.HasPrefix(path, s.dir+"/") {
			continue
		}
		image, err := s.files.open(path, s.options.Dirs)
		if errors.Is(err, ErrDenied) {
			denied = err
		}
		if _, known := found[image.ID]; err == nil && !known && matches(image.ID, digits) {
			found[image.ID] = s.inPlace(image, path)
		}
	}
	return only(ref, found, denied)
}

// imageByID is the image of a record, if it may be used by its ID.
func (s *Store) imageByID(e entry) (Image, error) {
	if err := s.usable(e); err != nil {
		return Image{}, err
	}
	return s.image(e)
}

// only is the one image that a reference means, by its ID; denied says that there is one that
// may not be used.
func only(ref string, found map[string]Image, denied error) (Image, error) {
	if len(found) > 1 {
		return Image{}, &kindError{ErrInvalid, fmt.Errorf("image %q: %d images have IDs that begin so", ref, len(found))}
	}
	for _, image := range found {
		return image, nil
	}
	if denied != nil {
		return Image{}, denied
	}
	return Image{}, &kindError{ErrNotFound, fmt.Errorf("image %q: not found", ref)}
}

func matches(id, digits string) bool { return strings.HasPrefix(id, idScheme+digits) }
