package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/trust"
)

// Pull makes sure that the image that ref names now is there to be used. A path is
// checked and remembered, and the file used where it is: nothing is copied. An ID, and a
// name that was imported, is there already or not found. The policy must let it run,
// whether it is there or not. Everything else is
// looked up where it is, with o's credentials, and what the store lacks of it is
// fetched: SIF files as they are, layers converted once. The image gets the name that was
// asked for and no other: what an archive says it is called is for Import.
//
// Pulls of the same thing at the same time share the work; each must be able to
// read the manifest. One that is cancelled leaves the work to the others. A pull
// that fails leaves nothing, except that what came whole, and the part of a SIF
// file that came, waits a day to be taken up again if the pull was cancelled or its
// source became unavailable.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (Image, error) {
	if s.readOnly {
		_, err := s.begin(ctx)
		return Image{}, err
	}
	if err := s.trusting(ref); err != nil {
		return Image{}, err
	}
	path, ok, err := asPath(ref)
	if err != nil {
		return Image{}, err
	}
	if ok {
		return s.pullPath(ctx, path, ref, o)
	}
	if isID(ref) {
		return s.permitted(ctx, ref, o)
	}
	if _, named := inRegistry(ref); named {
		if e, ok := s.byName(ref); ok && importedAs(ref, e.Digests) {
			return s.permitted(ctx, ref, o)
		}
		if s.options.Registry == nil {
			return Image{}, &kindError{ErrUnsupported, fmt.Errorf("pull image %q: there is no access to registries here; "+
				"name a SIF file by its absolute path (/images/web.sif or sif:///images/web.sif), or import it first", ref)}
		}
	}
	full, err := located(ref)
	if err == nil {
		err = s.readable(ref)
	}
	if err != nil {
		return Image{}, err
	}
	asked := func(found *source.Image) []string {
		if isArchive(ref) {
			return []string{full}
		}
		return []string{found.Name}
	}
	return s.pull(ctx, full, asked, o)
}

// trusting says why no image may be brought here, if the policy is of no use. What is here
// may be listed and removed all the same.
func (s *Store) trusting(ref string) error {
	if err := s.options.Policy.Err(); err != nil {
		return fmt.Errorf("image %s: %w: %w", source.Shown(ref), trust.ErrPolicy, err)
	}
	return nil
}

// permitted is an image that is there already, if the policy lets it run.
func (s *Store) permitted(ctx context.Context, ref string, o PullOptions) (Image, error) {
	image, err := s.Lookup(ref)
	if err != nil {
		return Image{}, err
	}
	err = s.options.Policy.Check(ctx, trust.Subject{
		References: image.Names(), Namespace: o.Namespace, ID: image.ID, Path: image.Path,
		Manifests: image.Manifests, Signatures: image.Signatures,
	})
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", source.Shown(ref), err)
	}
	return image, nil
}

// pullPath remembers a file in place.
func (s *Store) pullPath(ctx context.Context, path, ref string, o PullOptions) (Image, error) {
	// A file system that hangs must not keep others waiting: look first.
	image, err := s.files.open(path, s.options.Dirs)
	if err != nil {
		return Image{}, err
	}
	subject := trust.Subject{References: []string{ref}, Namespace: o.Namespace, ID: image.ID, Path: image.Path}
	if err := s.options.Policy.Check(ctx, subject); err != nil {
		return Image{}, fmt.Errorf("image %s: %w", source.Shown(ref), err)
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
	e.References, e.UpdatedAt, e.Kept = union(old.References, []string{ref}), time.Now(), old.Kept
	if err := s.save(e); err != nil {
		return Image{}, err
	}
	return s.inPlace(image, ref), nil
}

// pulling is one pull under way.
type pulling struct {
	ref   string
	o     PullOptions
	from  *shared
	bench *bench
	// entry is the record to be: its ID and what it consists of come last.
	entry entry
}

// pull brings an image from its source. What is no registry's gets the names that called
// gives it.
func (s *Store) pull(ctx context.Context, ref string, called func(*source.Image) []string, o PullOptions) (image Image, err error) {
	found, err := source.Open(ctx, ref, source.Options{
		Registry: s.options.Registry, Auth: o.Auth, Arch: s.options.Arch, Library: s.options.Library, Spool: filepath.Join(s.dir, ingestDir), Log: s.log,
		Reach: s.options.Dirs.Reach,
	})
	if err != nil {
		return Image{}, withKind(fmt.Errorf("pull image %s: %w", source.Shown(ref), err))
	}
	p := &pulling{ref: ref, o: o, from: newShared(found, o.Read)}
	defer func() { err = errors.Join(err, p.from.release()) }()
	p.entry.References, p.entry.origin, err = names(ref, called, found)
	if err != nil {
		return Image{}, fmt.Errorf("pull image %s: %w", source.Shown(ref), err)
	}
	if p.bench, err = s.enterWork(ctx); err != nil {
		return Image{}, fmt.Errorf("pull image %s: %w", source.Shown(ref), err)
	}
	defer func() { err = errors.Join(err, s.leaveWork(resumable(err))) }()
	if found.SIF != nil {
		image, err = s.pullSIF(ctx, p)
	} else {
		image, err = s.pullOCI(ctx, p)
	}
	if err != nil {
		return Image{}, withKind(fmt.Errorf("pull image %s: %w", found.Name, s.unwritten(err)))
	}
	return image, nil
}

// unwritten names the store in an error of a file in it, for the names in there mean
// nothing to whoever reads it.
func (s *Store) unwritten(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok && path.Op == "write" && strings.HasPrefix(path.Path, s.dir+"/") {
		return fmt.Errorf("write to the image store %s: %w", s.dir, path.Err)
	}
	return err
}

// resumable says that after this error another try should go on where it ended.
func resumable(err error) bool {
	return errors.Is(err, registry.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// names are what an image is called after a pull.
func names(ref string, called func(*source.Image) []string, from *source.Image) (references []string, o origin, err error) {
	o.Source = from.Name
	for _, digest := range []string{known(from.Top), known(from.Manifest)} {
		if digest != "" {
			o.Manifests = union(o.Manifests, []string{digest})
		}
	}
	if _, named := inRegistry(ref); named {
		parsed, err := registry.ParseReference(from.Name)
		if err != nil {
			return nil, o, err
		}
		if digest := known(from.Top); digest != "" {
			o.Digests = []string{parsed.Name() + "@" + digest}
		}
		if parsed.Digest == "" {
			references = []string{parsed.String()}
		}
		return references, o, nil
	}
	return union(nil, called(from)), o, nil
}

// subject is the image as the policy sees it.
func (p *pulling) subject() trust.Subject {
	s := trust.Subject{
		References: p.entry.References, Namespace: p.o.Namespace, ID: p.entry.ID,
		Manifests: p.entry.Manifests, Signatures: p.entry.Signatures,
	}
	if len(s.References) == 0 {
		s.References = []string{p.from.Name}
	}
	return s
}

// sign fetches the signatures that are attached to an image, if the policy wants any.
func (s *Store) sign(ctx context.Context, p *pulling) error {
	const most = 64
	if !s.options.Policy.Attached(p.subject().References) {
		return nil
	}
	signatures, err := p.from.Signatures(ctx)
	if err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	if len(signatures) > most {
		signatures = signatures[:most]
	}
	for _, signature := range signatures {
		p.entry.Signatures = append(p.entry.Signatures, trust.Signature(signature))
	}
	return nil
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// readFunc is a function that reads.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// watched reads from r until ctx ends and reports how far it is.
func watched(ctx context.Context, r io.Reader, total int64, progress func(done, total int64)) io.Reader {
	return counted(readFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(b)
	}), 0, func(done int64) {
		if progress != nil {
			progress(done, total)
		}
	})
}
