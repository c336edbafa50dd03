package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"sync"

	"github.com/siflet/siflet/runtime/sif"
)

// maxParsed bounds the cache of opened files.
const maxParsed = 512

// parser opens SIF files and remembers what it found for as long as the file
// stays the same one: device, inode, size and time.
type parser struct {
	// arch is that of the machine the images are for; empty is this one.
	arch string
	// sandboxes says that directories are images too.
	sandboxes bool
	mu        sync.Mutex
	parsed    map[string]parsedFile
}

// parsedFile is a file that was opened under a path, and the image in it: ID as
// in place, no references.
type parsedFile struct {
	info  os.FileInfo
	image Image
}

func (p parsedFile) is(info os.FileInfo) bool {
	return os.SameFile(p.info, info) && p.info.Size() == info.Size() && p.info.ModTime().Equal(info.ModTime())
}

// open returns the image in the file at path, which must lead into the directories. For
// a file that was opened before it costs looks at the path's components.
func (p *parser) open(path string, in *Dirs) (Image, error) {
	where, err := in.Find(path)
	if err != nil {
		return Image{}, err
	}
	info, err := os.Lstat(where)
	if err != nil {
		return Image{}, pathError(path, err)
	}
	if p.sandboxes && info.IsDir() {
		image, err := Sandbox(path)
		if err == nil {
			p.remember(path, parsedFile{info, image})
		}
		return image, err
	}
	p.mu.Lock()
	known, ok := p.parsed[path]
	p.mu.Unlock()
	if ok && known.is(info) && known.image.Path == where {
		return known.image, nil
	}
	image, err := parseExact(where, info, p.arch)
	if err != nil {
		return Image{}, pathError(path, err)
	}
	after, err := os.Lstat(where)
	if err != nil {
		return Image{}, pathError(path, err)
	}
	now := parsedFile{info, image}
	if !now.is(after) {
		return Image{}, pathError(path, errors.New("the file is being changed"))
	}
	p.remember(path, now)
	return image, nil
}

func (p *parser) remember(path string, now parsedFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parsed) >= maxParsed {
		clear(p.parsed)
	}
	p.parsed[path] = now
}

// byID finds an opened file by the beginning of its in-place ID.
func (p *parser) byID(digits string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var paths []string
	for path, known := range p.parsed {
		if matches(known.image.ID, digits) {
			paths = append(paths, path)
		}
	}
	return paths
}

// parseExact is parse of the file at a path without symbolic links.
func parseExact(path string, info os.FileInfo, arch string) (Image, error) {
	if !info.Mode().IsRegular() { // the same words for this as for all others
		return parse(path, info, arch)
	}
	raw, err := openExact(path)
	if err != nil {
		return Image{}, err
	}
	defer raw.Close() //nolint:errcheck // read only
	f, err := sif.Parse(raw, info.Size())
	if err != nil {
		return Image{}, err
	}
	return imageIn(f, path, info, arch)
}

// parse opens a file and checks that a machine of the architecture, this one if it is
// empty, can run what is in it.
func parse(path string, info os.FileInfo, arch string) (image Image, err error) {
	f, err := sif.Open(path)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return imageIn(f, path, info, arch)
}

func imageIn(f *sif.File, path string, info os.FileInfo, arch string) (Image, error) {
	if err := f.CheckArch(cmp.Or(arch, goruntime.GOARCH)); err != nil {
		return Image{}, err
	}
	content, err := f.Image()
	if err != nil {
		return Image{}, err
	}
	head, err := f.HeadDigest()
	if err != nil {
		return Image{}, err
	}
	image := Image{
		ID: inPlaceID(path, info, head), Path: path, InPlace: true, Size: info.Size(),
		Arch: content.Arch, Native: content.Native, Config: Config(content.Config), CreatedAt: info.ModTime(),
	}
	for _, e := range content.Extents {
		image.Extents = append(image.Extents, Extent{Path: path, Offset: e.Offset, Size: e.Size, FS: e.FS})
	}
	return image, nil
}

// inPlaceID identifies a file without reading it through, which for 20 GB on a
// shared file system would take minutes.
func inPlaceID(path string, info os.FileInfo, head [sha256.Size]byte) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "siflet image in place 1\n%x\n%d\n%d\n%s",
		head, info.Size(), info.ModTime().UnixNano(), path))
	return idScheme + hex.EncodeToString(sum[:])
}

// pathError says which image it was and gives the error a kind.
func pathError(path string, err error) error {
	// The path is named once: here.
	if cause := (*sif.FormatError)(nil); errors.As(err, &cause) {
		err = cause
	}
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	kind := ErrInvalid
	if errors.Is(err, fs.ErrNotExist) {
		kind = ErrNotFound
	}
	if errors.Is(err, sif.ErrUnsupported) {
		kind = ErrUnsupported
	}
	return &kindError{kind, fmt.Errorf("image %s: %w", path, err)}
}
