package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/siflet/siflet/runtime/source"
)

// needsScheme says that ref names an archive or a layout of images on disk, and how
// it wants to be named. It is nil for everything else.
func needsScheme(ref string) error {
	if scheme, _, known := source.Scheme(ref); !known || scheme != "" {
		return nil
	}
	info, err := os.Stat(ref)
	if err != nil {
		return nil //nolint:nilerr // nothing on disk is meant
	}
	scheme := ""
	switch {
	case info.Mode().IsRegular():
		scheme = archiveScheme(ref)
	case info.IsDir() && (filepath.IsAbs(ref) || ref[0] == '.'):
		if _, err := os.Stat(filepath.Join(ref, "oci-layout")); err == nil {
			scheme = "oci"
		}
	}
	switch scheme {
	case "":
		return nil
	case "oci":
		return fmt.Errorf("image %s: it is an OCI image layout; name it oci:%s", ref, ref)
	default:
		return fmt.Errorf("image %s: it is an archive of images, no SIF file; name it %s:%s", ref, scheme, ref)
	}
}

// hereAlready says that ref, which names no path, is the name of a SIF file in the current
// directory: whoever names a registry's image like that is rarely right. Do says what to
// do about the file.
func hereAlready(ref, do string) error {
	scheme, _, known := source.Scheme(ref)
	if !known || scheme != "" || strings.Contains(ref, "/") || !strings.HasSuffix(ref, ".sif") {
		return nil
	}
	info, err := os.Stat(ref)
	if err != nil || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // nothing on disk is meant
	}
	return fmt.Errorf("image %s: a file of this name is here; %s; if you mean a registry's image, say docker://%s", ref, do, ref)
}

// archiveScheme is "docker-archive" for what docker save writes, "oci-archive" for an OCI
// layout in a tar, and empty for all others.
func archiveScheme(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // read only
	plain, closePlain, err := uncompressed(f)
	if err != nil {
		return ""
	}
	defer closePlain()
	// It is for an error message: what takes long to look at is not looked at to its end.
	const most = 10_000
	found := ""
	in := tar.NewReader(plain)
	for range most {
		header, err := in.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			break
		}
		switch path.Clean(header.Name) {
		case "manifest.json":
			return "docker-archive" // newer ones are both
		case "oci-layout":
			found = "oci-archive"
		}
	}
	return found
}

// uncompressed reads a file, the beginning of it if it is compressed.
func uncompressed(f *os.File) (plain io.Reader, closePlain func(), err error) {
	const most = 512 << 20
	head := make([]byte, 4)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, nil, err
	}
	buffered, nothing := bufio.NewReader(f), func() {}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		plain, err = gzip.NewReader(buffered)
	case bytes.HasPrefix(head, []byte("BZh")):
		plain = bzip2.NewReader(buffered)
	case bytes.Equal(head, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return io.LimitReader(z, most), z.Close, nil
	default:
		return f, nothing, nil // tar skips what files hold
	}
	return io.LimitReader(plain, most), nothing, err
}
