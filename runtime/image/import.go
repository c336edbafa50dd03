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

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/trust"
)

// Import copies the SIF at path into the store and gives it a tag, by default
// one made of the file's name. A tag that another image has moves; an image that
// loses its last tag so is removed unless it is pinned. The copy is synced before
// the tag shows. A reference to an archive or layout ("docker-archive:", "oci-archive:",
// "oci:") is pulled; without a tag the image has the names that are in there.
// progress, if not nil, hears of the bytes copied.
func (s *Store) Import(ctx context.Context, path, tag string, progress func(done, total int64)) (Image, error) {
	if s.readOnly {
		_, err := s.begin(ctx)
		return Image{}, err
	}
	if tag != "" {
		full, err := fullTag(tag)
		if err != nil {
			return Image{}, err
		}
		tag = full
	}
	if err := s.trusting(path); err != nil {
		return Image{}, err
	}
	if isArchive(path) {
		return s.importArchive(ctx, path, tag, progress)
	}
	if tag == "" {
		full, err := fullTag(fileTag(path))
		if err != nil {
			return Image{}, err
		}
		tag = full
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Image{}, err
	}
	// Know before copying gigabytes that they are of use.
	if _, err := s.files.open(path, s.options.Dirs); err != nil {
		return Image{}, err
	}
	temp, id, err := s.ingest(ctx, path, progress)
	if err != nil {
		return Image{}, fmt.Errorf("import %s: %w", path, err)
	}
	defer temp.Close() //nolint:errcheck // synced already; until it has its name it must be open
	e := entry{ID: id, Path: s.blob(id), References: []string{tag}, origin: origin{Source: path}}
	err = s.options.Policy.Check(ctx, trust.Subject{References: e.References, ID: id, Path: temp.Name()})
	var image Image
	if err == nil {
		image, err = s.commit(ctx, e, map[string]string{filepath.Join(blobsDir, filepath.Base(e.Path)): temp.Name()})
	}
	if err != nil {
		return Image{}, fmt.Errorf("import %s: %w", path, errors.Join(err, removeIfThere(temp.Name())))
	}
	return image, removeIfThere(temp.Name())
}

// importArchive gives an image in an archive the tag or, without one, the names that it
// has there.
func (s *Store) importArchive(ctx context.Context, ref, tag string, progress func(done, total int64)) (Image, error) {
	full, err := located(ref)
	if err != nil {
		return Image{}, err
	}
	called := func(found *source.Image) []string {
		switch {
		case tag != "":
			return []string{tag}
		case len(found.Tags) > 0:
			return found.Tags
		default:
			return []string{full}
		}
	}
	return s.pull(ctx, full, called, PullOptions{Progress: progress})
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
		_, err = parse(dst.Name(), info, s.options.Arch)
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
	if _, err := linux.TryLock(f); err != nil && !errors.Is(err, linux.ErrNoLocks) {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}
