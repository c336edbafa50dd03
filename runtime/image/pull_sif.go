package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
)

// pulledFile is a SIF file on the bench or in its place.
type pulledFile struct {
	id, path string
}

// pullSIF brings an image that is a SIF file. What is in it is checked, and the
// policy asked, before it shows.
func (s *Store) pullSIF(ctx context.Context, p *pulling) (Image, error) {
	d := *p.from.SIF
	if d.Digest != (v1.Hash{}) && d.Digest.Algorithm != "sha256" {
		return Image{}, &kindError{ErrUnsupported, fmt.Errorf("a digest by %q", d.Digest.Algorithm)}
	}
	m := newMeter(max(d.Size, 0))
	var file pulledFile
	err := m.run(p.o.Progress, func() (err error) {
		file, err = s.file(ctx, p, d, &share{meter: m})
		return err
	})
	if err != nil {
		return Image{}, err
	}
	info, err := os.Stat(file.path)
	if err != nil {
		return Image{}, err
	}
	if _, err := parse(file.path, info, s.options.Arch); err != nil {
		return Image{}, contentError(err)
	}
	p.entry.ID, p.entry.Path = file.id, s.blob(file.id)
	if err := s.sign(ctx, p); err != nil {
		return Image{}, err
	}
	subject := p.subject()
	subject.Path = file.path
	if err := s.options.Policy.Check(ctx, subject); err != nil {
		return Image{}, err
	}
	files := map[string]string{}
	if file.path != p.entry.Path {
		files[p.entry.files()[0]] = file.path
	}
	return s.commit(ctx, p.entry, files)
}

// contentError gives what is wrong with a SIF file its kind, without its path.
func contentError(err error) error {
	err = pathError("", err)
	if kind := (*kindError)(nil); errors.As(err, &kind) {
		return &kindError{kind.kind, errors.Unwrap(kind.err)}
	}
	return err
}

// file makes sure that a SIF file is in the store or on the bench.
func (s *Store) file(ctx context.Context, p *pulling, d v1.Descriptor, progress *share) (pulledFile, error) {
	id := known(d.Digest)
	if id == "" {
		done := func(n int64) { progress.set(n) }
		return s.fetchUnknown(ctx, p.bench, p.from, d, done)
	}
	const tries = 2
	var err error
	for range tries {
		for _, path := range []string{s.blob(id), p.bench.path(d.Digest.Hex)} {
			if info, err := os.Stat(path); err == nil && (d.Size < 0 || info.Size() == d.Size) {
				progress.skip(max(d.Size, 0))
				return pulledFile{id, path}, nil
			}
		}
		if s.takeLeftover(ctx, p.bench, d.Digest.Hex) == nil {
			continue
		}
		var file pulledFile
		var started bool
		file, started, err = s.work.files.do(ctx, id, progress, func(ctx context.Context, report func(int64)) (pulledFile, error) {
			p.from.retain()
			file, err := s.fetch(ctx, p.bench, p.from, d, report)
			return file, errors.Join(err, p.from.release())
		})
		if err == nil {
			return file, nil
		}
		if started || ctx.Err() != nil {
			break
		}
	}
	return pulledFile{}, err
}

// fetchUnknown fetches a file whose digest the source does not say.
func (s *Store) fetchUnknown(ctx context.Context, b *bench, from *shared, d v1.Descriptor, report func(int64)) (file pulledFile, err error) {
	f, err := os.CreateTemp(b.dir, ".file-*")
	if err != nil {
		return file, err
	}
	sum := sha256.New()
	if err = download(ctx, from.Image, d, f, sum, report); err == nil {
		err = f.Sync()
	}
	file.id = idScheme + hex.EncodeToString(sum.Sum(nil))
	file.path = b.path(file.id[len(idScheme):])
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file.path)
	}
	if err != nil {
		return pulledFile{}, errors.Join(err, removeIfThere(f.Name()))
	}
	return file, nil
}

// fetch fetches a file, going on where an earlier try ended.
func (s *Store) fetch(ctx context.Context, b *bench, from *shared, d v1.Descriptor, report func(int64)) (pulledFile, error) {
	f, err := s.openPart(ctx, b, d.Digest.Hex)
	if err != nil {
		return pulledFile{}, err
	}
	path, sum := b.path(d.Digest.Hex), sha256.New()
	resumed, err := s.complete(ctx, f, from, d, sum, report)
	if resumed && errors.Is(err, registry.ErrCorrupt) {
		// What an earlier try left may be to blame.
		if err = f.Truncate(0); err == nil {
			sum.Reset()
			_, err = s.complete(ctx, f, from, d, sum, report)
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	switch {
	case err == nil:
	case resumable(err):
		// What is there waits for another try.
	default:
		err = errors.Join(err, removeIfThere(f.Name()))
	}
	// Until it is on the bench nobody else may take it.
	if err = errors.Join(err, f.Close()); err != nil {
		return pulledFile{}, err
	}
	return pulledFile{known(d.Digest), path}, nil
}

// openPart opens the part of a file that is there already, locked; one of its
// own on the bench if another process is at it.
func (s *Store) openPart(ctx context.Context, b *bench, digits string) (*os.File, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	f, err := os.OpenFile(filepath.Join(s.dir, partsDir, digits+".part"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	ours, err := linux.TryLock(f)
	if err == nil && ours {
		return f, nil
	}
	if errors.Is(err, linux.ErrNoLocks) {
		err = nil // there may be another
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return os.CreateTemp(b.dir, ".file-*")
}

// complete fetches what is missing of a file, and checks the whole. resumed says
// that there was something already.
func (s *Store) complete(ctx context.Context, f *os.File, from *shared, d v1.Descriptor, sum hash.Hash, report func(int64)) (resumed bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if d.Size >= 0 && info.Size() > d.Size {
		if err := f.Truncate(0); err != nil {
			return false, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	there, err := io.CopyBuffer(struct{ io.Writer }{sum}, watched(ctx, f, 0, nil), make([]byte, copyBuffer))
	if err != nil {
		return false, err
	}
	if err := download(ctx, from.Image, d, f, sum, report); err != nil {
		return there > 0, err
	}
	if found := hex.EncodeToString(sum.Sum(nil)); found != d.Digest.Hex {
		return there > 0, fmt.Errorf("%w: %s is sha256:%s", registry.ErrCorrupt, d.Digest, found)
	}
	return there > 0, errors.Join(f.Chmod(0o755), f.Sync())
}

const copyBuffer = 1 << 20

// download adds to a file, from its offset on, what the source has from there.
func download(ctx context.Context, from *source.Image, d v1.Descriptor, f *os.File, sum hash.Hash, report func(int64)) (err error) {
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil || d.Size >= 0 && start == d.Size {
		return err
	}
	blob, err := from.Blobs.Open(ctx, d, start)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	var body io.Reader = blob
	if d.Size >= 0 {
		body = io.LimitReader(blob, d.Size-start+1)
	}
	body = watched(ctx, counted(body, start, report), 0, nil)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(f, sum)}, body, make([]byte, copyBuffer))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case d.Size >= 0 && start+n != d.Size:
		return fmt.Errorf("%w: %s has %d bytes, not %d", registry.ErrCorrupt, d.Digest, start+n, d.Size)
	}
	return nil
}
