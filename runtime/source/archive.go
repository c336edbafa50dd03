package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/registry"
)

const (
	maxEntries = 1 << 16
	maxName    = 1024
	maxLinks   = 8
)

// entry is a regular file in an archive, or a link if to is set.
type entry struct {
	offset, size int64
	to           string
	twice        bool
}

// archive is an uncompressed tar whose files are read where they are.
type archive struct {
	file    *os.File
	entries map[string]entry
}

func (a *archive) Close() error { return a.file.Close() }

// open follows the links that docker makes for layers that are there twice. They
// lead nowhere but to other entries.
func (a *archive) open(name string) (*file, error) {
	at := path.Clean(name)
	for range maxLinks {
		e, ok := a.entries[at]
		switch {
		case !ok:
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case e.twice:
			return nil, fmt.Errorf("%w: %s is there twice", registry.ErrCorrupt, name)
		case e.to == "":
			return &file{io.NewSectionReader(a.file, e.offset, e.size), nil}, nil
		}
		at = e.to
	}
	return nil, fmt.Errorf("%w: %s: too many links", registry.ErrCorrupt, name)
}

// readArchive finds where the files of a tar are. The archive owns f.
func readArchive(ctx context.Context, f *os.File) (*archive, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a := &archive{file: f, entries: map[string]entry{}}
	at := io.NewSectionReader(f, 0, info.Size())
	tr := tar.NewReader(at)
	for range maxEntries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: archive: %w", registry.ErrCorrupt, err)
		}
		// The tar reader reads no further than the header it returns.
		offset, err := at.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := a.add(header, offset, info.Size()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: archive of more than %d entries", ErrUnsupported, maxEntries)
}

func (a *archive) add(header *tar.Header, offset, end int64) error {
	name := path.Clean(header.Name)
	// A name that leads outside is never looked up.
	if len(name) > maxName || !filepath.IsLocal(name) {
		return nil
	}
	e := entry{offset: offset, size: header.Size}
	switch header.Typeflag {
	case tar.TypeReg:
		if header.Size < 0 || offset > end || header.Size > end-offset {
			return fmt.Errorf("%w: archive: %s ends after the archive does", registry.ErrCorrupt, name)
		}
		if isSparse(header) {
			return fmt.Errorf("%w: archive: %s is stored as a sparse file", ErrUnsupported, name)
		}
	case tar.TypeGNUSparse:
		return fmt.Errorf("%w: archive: %s is stored as a sparse file", ErrUnsupported, name)
	case tar.TypeSymlink:
		e.to = path.Join(path.Dir(name), header.Linkname)
		if path.IsAbs(header.Linkname) {
			e.to = header.Linkname
		}
	case tar.TypeLink:
		e.to = path.Clean(header.Linkname)
	default:
		return nil
	}
	_, e.twice = a.entries[name]
	a.entries[name] = e
	return nil
}

func isSparse(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// openArchive reads what docker save, skopeo, podman and others write. Which of
// the two kinds it is shows inside: the scheme says which counts if it is both.
func openArchive(ctx context.Context, scheme, rest string, o Options) (*Image, error) {
	name, choice, err := splitChoice(rest)
	if err != nil {
		return nil, err
	}
	called := called(scheme, name, choice)
	f, err := reach(o, name, func(name string) (*os.File, error) { return openPlain(ctx, name, o.Spool) })
	if err != nil {
		return nil, err
	}
	a, err := readArchive(ctx, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_, isDocker := a.entries["manifest.json"]
	_, isOCI := a.entries["index.json"]
	switch {
	case isDocker && (scheme == "docker-archive" || !isOCI):
		return openSaved(ctx, a, choice, called, o)
	case isOCI:
		from := &layout{files: a}
		image, err := from.choose(ctx, choice, o.Arch)
		return keep(image, err, from, called)
	}
	err = fmt.Errorf("%w: archive with neither manifest.json nor index.json", ErrUnsupported)
	return nil, errors.Join(err, a.Close())
}

// called is the reference made absolute.
func called(scheme, name, choice string) string {
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	switch {
	case choice == "":
		return scheme + ":" + name
	case strings.HasPrefix(choice, "@sha256:"):
		return scheme + ":" + name + choice
	}
	return scheme + ":" + name + ":" + choice
}
