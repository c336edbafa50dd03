package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/siflet/siflet/runtime/linux"
)

// metadataDir is where images made by Singularity have their scripts.
const metadataDir = ".singularity.d"

// Sandbox is the image in a directory that is a root file system. What is in there may
// change; the image is the same for as long as the directory is.
func Sandbox(path string) (Image, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return Image{}, pathError(path, err)
	}
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		err = linux.ENOTDIR
	}
	if err != nil {
		return Image{}, pathError(path, err)
	}
	return sandbox(abs, info)
}

func sandbox(path string, info os.FileInfo) (Image, error) {
	entries, err := os.ReadDir(path)
	has := func(names ...string) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return slices.Contains(names, e.Name()) })
	}
	if err == nil && !has(metadataDir, "bin", "sbin", "usr", "lib", "etc", "nix") {
		err = errors.New("it is a directory without a root file system in it")
	}
	if err != nil {
		return Image{}, pathError(path, err)
	}
	fd, err := linux.Open(path, linux.OPath|linux.ODirectory)
	if err != nil {
		return Image{}, pathError(path, err)
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err != nil {
		return Image{}, pathError(path, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "siflet sandbox 1\n%d %d\n%s", st.Dev, st.Ino, path))
	return Image{
		ID: idScheme + hex.EncodeToString(sum[:]), Path: path, InPlace: true, Native: has(metadataDir), CreatedAt: info.ModTime(),
		References: []string{path}, Extents: []Extent{{Path: path, FS: directoryFS}},
	}, nil
}

// IsSandbox says that the image is a directory, in which changes can be made.
func (i *Image) IsSandbox() bool {
	return i.InPlace && len(i.Extents) == 1 && i.Extents[0].FS == directoryFS && i.Extents[0].Path == i.Path
}
