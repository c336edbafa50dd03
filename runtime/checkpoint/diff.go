package checkpoint

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
	overlayXattrs  = "trusted.overlay."
	opaqueXattr    = overlayXattrs + "opaque"
	tarXattr       = "SCHILY.xattr."
)

// WriteDiff writes what a container has changed, the upper directory of its overlay,
// as a layer of an OCI image: a tar with whiteouts.
func WriteDiff(w io.Writer, upper string) error {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only
	d := &diff{root: root, tar: tar.NewWriter(w), links: map[linux.FileID]string{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return d.add(name, entry)
	})
	return errors.Join(err, d.tar.Close())
}

type diff struct {
	root  *os.Root
	tar   *tar.Writer
	links map[linux.FileID]string // files with several names, by the first
}

func (d *diff) add(name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if linux.IsWhiteout(info) {
		dir, base := path.Split(name)
		return d.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteout + base, Mode: 0o600})
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil // a tar has no place for one
	}
	header, err := d.header(name, info)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	opaque := header.PAXRecords[tarXattr+opaqueXattr] == "y"
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, tarXattr+overlayXattrs) {
			delete(header.PAXRecords, key)
		}
	}
	if id, many := linux.LinkedFile(info); many && header.Typeflag != tar.TypeDir {
		if first, seen := d.links[id]; seen {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		} else {
			d.links[id] = name
		}
	}
	if err := d.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if opaque {
		return d.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, opaqueWhiteout), Mode: 0o600})
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	if _, err := io.CopyN(d.tar, f, header.Size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d *diff) header(name string, info fs.FileInfo) (*tar.Header, error) {
	target := ""
	var err error
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = d.root.Readlink(name); err != nil {
			return nil, err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uname, header.Gname = "", ""
	if header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
		return header, nil
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	xattrs, err := linux.Xattrs(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	for key, value := range xattrs {
		if header.PAXRecords == nil {
			header.PAXRecords = map[string]string{}
		}
		header.PAXRecords[tarXattr+key] = value
	}
	return header, nil
}
