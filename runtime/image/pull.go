package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
)

// Pull makes sure that an image is there to be used. A path is checked and
// remembered, and the file used where it is: nothing is copied. Of other
// references, those that the store has are there already; the rest is
// ErrUnsupported.
func (s *Store) Pull(ctx context.Context, ref string, _ PullOptions) (Image, error) {
	path, ok, err := asPath(ref)
	if err != nil {
		return Image{}, err
	}
	if !ok {
		image, err := s.Lookup(ref)
		if errors.Is(err, ErrNotFound) {
			return Image{}, &kindError{ErrUnsupported, fmt.Errorf("pull image %q: registries can't be pulled from yet; "+
				"name a SIF file by its absolute path (/images/web.sif or sif:///images/web.sif), or import it first", ref)}
		}
		return image, err
	}
	// A file system that hangs must not keep others waiting: look first.
	image, err := s.files.open(path)
	if err != nil {
		return Image{}, err
	}
	end, err := s.begin(ctx)
	if err != nil {
		return Image{}, err
	}
	defer end()
	e := entry{ID: image.ID, Path: image.Path, InPlace: true}
	s.mu.Lock()
	old, known := s.entries[e.key()]
	s.mu.Unlock()
	if known && old.ID == e.ID && slices.Contains(old.References, ref) {
		return s.inPlace(image, ref), nil
	}
	e.References, e.UpdatedAt = withReference(old.References, ref), time.Now()
	if err := s.save(e); err != nil {
		return Image{}, err
	}
	return s.inPlace(image, ref), nil
}

// Import copies the SIF at path into the store and gives it a tag, by default
// one made of the file's name. A tag that another image has moves; an image that
// loses its last tag so is removed unless it is pinned. The copy is synced before
// the tag shows. progress, if not nil, hears of the bytes copied.
func (s *Store) Import(ctx context.Context, path, tag string, progress func(done, total int64)) (Image, error) {
	if s.readOnly {
		_, err := s.begin(ctx)
		return Image{}, err
	}
	if tag == "" {
		tag = fileTag(path)
	}
	tag, err := normalTag(tag)
	if err != nil {
		return Image{}, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return Image{}, err
	}
	// Know before copying gigabytes that they are of use.
	if _, err := s.files.open(path); err != nil {
		return Image{}, err
	}
	temp, id, err := s.ingest(ctx, path, progress)
	if err != nil {
		return Image{}, fmt.Errorf("import %s: %w", path, err)
	}
	defer temp.Close() //nolint:errcheck // synced already; until it has its name it must be open
	end, err := s.begin(ctx)
	if err != nil {
		return Image{}, errors.Join(err, os.Remove(temp.Name()))
	}
	defer end()
	if err := s.place(temp.Name(), id); err != nil {
		return Image{}, fmt.Errorf("import %s: %w", path, errors.Join(err, removeIfThere(temp.Name())))
	}
	e := entry{ID: id, Path: s.blob(id), UpdatedAt: time.Now()}
	s.mu.Lock()
	old := s.entries[e.key()]
	s.mu.Unlock()
	e.References = withReference(old.References, tag)
	if err := s.save(e); err != nil {
		return Image{}, err
	}
	if err := s.takeReference(tag, e.key()); err != nil {
		return Image{}, err
	}
	return s.image(e)
}

// ingest copies the file while hashing it, and syncs and checks the copy.
func (s *Store) ingest(ctx context.Context, path string, progress func(done, total int64)) (dst *os.File, id string, err error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer src.Close() //nolint:errcheck // read only
	info, err := src.Stat()
	if err != nil {
		return nil, "", err
	}
	if dst, err = s.newIngest(ctx); err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	reader := watched(ctx, io.LimitReader(src, info.Size()), info.Size(), progress)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(dst, sum)}, reader, make([]byte, 1<<20))
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%w: %d bytes of %d", io.ErrUnexpectedEOF, n, info.Size())
	}
	if err == nil {
		err = dst.Chmod(0o644)
	}
	if err == nil {
		err = dst.Sync()
	}
	if err == nil {
		// The source may have changed since it was looked at; the copy can't.
		_, err = parse(dst.Name(), info)
	}
	if err != nil {
		return nil, "", errors.Join(err, dst.Close(), os.Remove(dst.Name()))
	}
	return dst, idScheme + hex.EncodeToString(sum.Sum(nil)), nil
}

// newIngest makes a file to copy to. As long as it is open no other process
// takes it for one that was left behind.
func (s *Store) newIngest(ctx context.Context) (*os.File, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	f, err := os.CreateTemp(filepath.Join(s.dir, ingestDir), "*.sif")
	if err != nil {
		return nil, err
	}
	if _, err := linux.TryLock(f); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// place gives the copy its name. A file that is there already stays, since it
// may be mounted and has the same content.
func (s *Store) place(temp, id string) error {
	if _, err := os.Stat(s.blob(id)); err == nil {
		return os.Remove(temp)
	}
	if err := os.Rename(temp, s.blob(id)); err != nil {
		return err
	}
	return record.SyncDir(filepath.Join(s.dir, blobsDir))
}

// takeReference removes the reference from every record but one.
func (s *Store) takeReference(ref, keep string) error {
	var err error
	for _, e := range s.snapshot() {
		if e.key() == keep || !slices.Contains(e.References, ref) {
			continue
		}
		e.References = slices.DeleteFunc(slices.Clone(e.References), func(r string) bool { return r == ref })
		err = errors.Join(err, s.saveOrForget(e))
	}
	return err
}

func withReference(refs []string, ref string) []string {
	refs = append(slices.Clone(refs), ref)
	slices.Sort(refs)
	return slices.Compact(refs)
}

// readFunc is a function that reads.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// watched reads from r until ctx ends and reports how far it is.
func watched(ctx context.Context, r io.Reader, total int64, progress func(done, total int64)) io.Reader {
	var done int64
	return readFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := r.Read(b)
		done += int64(n)
		if progress != nil && n > 0 {
			progress(done, total)
		}
		return n, err
	})
}
