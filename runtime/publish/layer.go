package publish

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/siflet/siflet/runtime/unsquash"
)

// layer is a file system as a compressed tar in a temporary file.
type layer struct {
	Blob

	diffID v1.Hash
}

// pack writes a file system into a temporary file in dir, as a layer of an image. That of an
// overlay says what it takes away from those below in OCI's way.
func pack(ctx context.Context, r *unsquash.Reader, dir string) (layer, error) {
	return packed(dir, func(w *tar.Writer) error {
		p := &packer{ctx: ctx, r: r, w: w, files: map[uint32]string{}, directories: map[uint32]bool{}}
		return p.tree(".")
	})
}

// packed is what fill writes, as a layer in a temporary file in dir.
func packed(dir string, fill func(w *tar.Writer) error) (l layer, err error) {
	f, err := os.CreateTemp(dir, "layer-*")
	if err != nil {
		return l, err
	}
	blob := &sized{w: f}
	packed, plain := sha256.New(), sha256.New()
	z, err := gzip.NewWriterLevel(io.MultiWriter(blob, packed), gzip.DefaultCompression)
	if err != nil {
		return l, err
	}
	w := tar.NewWriter(io.MultiWriter(z, plain))
	err = fill(w)
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		return l, errors.Join(err, f.Close())
	}
	l.Blob = Blob{v1.Descriptor{
		MediaType: types.OCILayer, Size: blob.size, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(packed.Sum(nil))},
	}, f}
	l.diffID = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plain.Sum(nil))}
	return l, nil
}

// sized counts what is written.
type sized struct {
	w    io.Writer
	size int64
}

func (s *sized) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.size += int64(n)
	return n, err
}

// packer writes a tree as a tar.
type packer struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call
	r   *unsquash.Reader
	w   *tar.Writer
	// files are the first names of inodes, directories those that were seen.
	files       map[uint32]string
	directories map[uint32]bool
}

const maxDepth = 512

func (p *packer) tree(name string) error {
	info, err := p.r.Lstat(name)
	if err != nil {
		return err
	}
	return p.add(name, info, 0)
}

func (p *packer) add(name string, info fs.FileInfo, depth int) error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	i, ok := info.Sys().(*unsquash.Info)
	if !ok || depth > maxDepth {
		return fmt.Errorf("/%s: %w: it is too deep", name, unsquash.ErrCorrupt)
	}
	attrs, err := p.r.XattrsOf(i)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeCharDevice != 0 && i.Major == 0 && i.Minor == 0 {
		return p.marker(path.Join(path.Dir(name), ".wh."+path.Base(name)), i)
	}
	header, err := header(name, info, i, attrs)
	if header == nil || err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		if first, ok := p.files[i.Inode]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
			return p.w.WriteHeader(header)
		}
		p.files[i.Inode] = name
	}
	if name != "." || len(header.PAXRecords) > 0 || header.Mode != 0o755 || header.Uid != 0 || header.Gid != 0 {
		if err := p.w.WriteHeader(header); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	switch {
	case info.Mode().IsRegular():
		return p.content(name, i)
	case info.IsDir():
		return p.directory(name, i, depth, attrs["trusted.overlay.opaque"] == "y")
	}
	return nil
}

// header is nil for what no tar has.
func header(name string, info fs.FileInfo, i *unsquash.Info, attrs map[string]string) (*tar.Header, error) {
	if info.Mode()&fs.ModeSocket != 0 {
		return nil, nil //nolint:nilnil // it has none
	}
	h, err := tar.FileInfoHeader(plainInfo{info}, i.Target)
	if err != nil {
		return nil, err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Devmajor, h.Devminor = int(i.UID), int(i.GID), int64(i.Major), int64(i.Minor)
	h.Format = tar.FormatPAX
	for key, value := range attrs {
		if strings.HasPrefix(key, "trusted.overlay.") {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+key] = value
	}
	return h, nil
}

// plainInfo hides whose inode it is, which package tar would not understand.
type plainInfo struct{ fs.FileInfo }

func (plainInfo) Sys() any { return nil }

func (p *packer) content(name string, i *unsquash.Info) error {
	f, err := p.r.OpenOf(i)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	if _, err := io.Copy(p.w, &counted{ctx: p.ctx, r: f}); err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	return nil
}

func (p *packer) directory(name string, i *unsquash.Info, depth int, opaque bool) error {
	if p.directories[i.Inode] {
		return fmt.Errorf("/%s: %w: a directory is in two places", name, unsquash.ErrCorrupt)
	}
	p.directories[i.Inode] = true
	if opaque {
		if err := p.marker(path.Join(name, ".wh..wh..opq"), i); err != nil {
			return err
		}
	}
	list, err := p.r.ReadDirOf(i)
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("/%s: %w", path.Join(name, e.Name()), err)
		}
		if err := p.add(path.Join(name, e.Name()), info, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// marker is an empty file that says something about those of layers below.
func (p *packer) marker(name string, i *unsquash.Info) error {
	return p.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: i.ModTime(), Format: tar.FormatPAX})
}
