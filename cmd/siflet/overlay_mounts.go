package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/sif"
)

// addOverlays adds what --overlay names to the image's file systems: each over those before,
// and one, at most, to be written to.
func (o *actionOptions) addOverlays(spec *runtime.ContainerSpec) error {
	if len(o.overlays) > 0 && o.writableTmpfs && slices.ContainsFunc(o.overlays, func(s string) bool { return !strings.HasSuffix(s, ":ro") }) {
		return usageError{text: "--overlay and --writable-tmpfs can't be used together, but for overlays with :ro"}
	}
	writable := ""
	for _, overlay := range o.overlays {
		name, readonly := strings.CutSuffix(overlay, ":ro")
		path, err := hostPath(strings.TrimSuffix(name, ":rw"))
		if err != nil {
			return err
		}
		stat, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("overlay %s: %w; make the directory first, or a file: siflet overlay create", path, unwrapPath(err))
		}
		if !readonly && writable != "" {
			return usageError{text: fmt.Sprintf("--overlay: one can be written to; say %s:ro or %s:ro", writable, path)}
		}
		if !readonly {
			writable = path
		}
		if stat.IsDir() {
			o.addDirectory(spec, path, readonly)
		} else if err := addImage(spec, path, readonly); err != nil {
			return fmt.Errorf("overlay %s: %w", path, unwrapPath(err))
		}
	}
	return nil
}

// addDirectory is addOverlays for a directory. Alone and read-only it is made what it needs
// to be, as if it was to be written to.
func (o *actionOptions) addDirectory(spec *runtime.ContainerSpec, dir string, readonly bool) {
	if readonly && (len(o.overlays) > 1 || o.writableTmpfs) {
		spec.Layers = append(spec.Layers, program.Extent{Path: filepath.Join(dir, "upper"), FS: "directory"})
		return
	}
	spec.Upper, spec.Overlay, spec.Security.ReadonlyRoot = runtime.UpperDir, dir, readonly
}

// addImage is addOverlays for a file: with a file system, or a SIF file with overlays.
func addImage(spec *runtime.ContainerSpec, path string, readonly bool) error {
	// What is mounted must be the file that was looked at.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	extents, err := overlaysIn(path)
	if err != nil {
		return err
	}
	if err := mountable(extents...); err != nil {
		return err
	}
	top := extents[len(extents)-1]
	if !readonly && top.FS != "ext3" {
		return fmt.Errorf("it holds %s, which can't be written to; say %s:ro", top.FS, path)
	}
	if !readonly {
		if err := unsigned(top); err != nil {
			return err
		}
		extents = extents[:len(extents)-1]
		spec.Upper, spec.OverlayImage = runtime.UpperImage, &top
	}
	spec.Layers = append(spec.Layers, extents...)
	return nil
}

// mountable refuses file systems that the kernel mounts for root alone.
func mountable(extents ...program.Extent) error {
	if !linux.IsRoot() && slices.ContainsFunc(extents, func(e program.Extent) bool { return e.FS == "ext3" }) {
		return errors.New("it holds an ext3 file system, which takes root to mount; without root changes go to a directory: mkdir changes, --overlay changes")
	}
	return nil
}

// overlaysIn are the file systems in a file that can be overlays, lowest first.
func overlaysIn(path string) ([]program.Extent, error) {
	f, err := sif.Open(path)
	if errors.Is(err, sif.ErrNotSIF) {
		e, err := fileSystemIn(path)
		return []program.Extent{e}, err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	var list []program.Extent
	for _, d := range f.Descriptors {
		if d.Type == sif.TypePartition && d.Part == sif.PartOverlay && (d.FS == sif.FSExt3 || d.FS == sif.FSSquash) {
			list = append(list, program.Extent{Path: path, Offset: d.Offset, Size: d.Size, FS: d.FS.String()})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the SIF file has no overlay; add one with: siflet overlay create %s", path)
	}
	return list, nil
}

// fileSystemIn is the file system that a file is.
func fileSystemIn(path string) (program.Extent, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("neither a directory nor a file")
	}
	if err != nil {
		return program.Extent{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return program.Extent{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	e := program.Extent{Path: path, Size: info.Size()}
	const magicAt, magic = 1024 + 56, 0xef53
	head := make([]byte, magicAt+2)
	if n, _ := f.ReadAt(head, 0); n == len(head) {
		switch {
		case string(head[:4]) == "hsqs":
			e.FS = "squashfs"
		case binary.LittleEndian.Uint16(head[magicAt:]) == magic:
			e.FS = "ext3"
		}
	}
	if e.FS == "" {
		return e, errors.New("neither a directory, nor a file with an ext3 file system, a squashfs or a SIF; make one with: siflet overlay create")
	}
	return e, nil
}

// ownOverlay is the file system in an image itself that can be written to.
func ownOverlay(img *image.Image) *program.Extent {
	if len(img.Extents) < 2 || !img.InPlace {
		return nil
	}
	top := img.Extents[len(img.Extents)-1]
	if top.FS != "ext3" {
		return nil
	}
	return &program.Extent{Path: top.Path, Offset: top.Offset, Size: top.Size, FS: top.FS}
}

// unsigned makes sure that no signature covers a file system that is to be written to.
func unsigned(e program.Extent) error {
	f, err := sif.Open(e.Path)
	if err != nil {
		return nil // then it is no SIF file, and not signed
	}
	defer f.Close() //nolint:errcheck // read only
	for _, d := range f.Descriptors {
		if d.Offset == e.Offset && len(f.Signatures(d)) > 0 {
			return fmt.Errorf("%s is signed, and would not verify any more; keep changes in a file of its own: siflet overlay create changes.img", e.Path)
		}
	}
	return nil
}

// settled waits until all that a container changed is in the file: it is unmounted a moment
// after the container's end.
func settled(ctx context.Context, spec *runtime.ContainerSpec) {
	if spec.OverlayImage == nil {
		return
	}
	f, err := os.Open(spec.OverlayImage.Path)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // read only
	const pause, patience = 10 * time.Millisecond, 5 * time.Second
	for range patience / pause {
		if free, err := linux.TryLock(f); free || err != nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
