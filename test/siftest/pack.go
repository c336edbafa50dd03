// Package siftest makes small SIF files to test and demonstrate with.
//
// It packs a directory, or a root file system made of the machine's own static
// busybox, into a SIF that Singularity would run too. It is no image builder:
// it runs nothing in the image and resolves no dependency. It needs mksquashfs
// and writes only under the directory or the file it is given.
package siftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/sif"
)

// ErrNoMksquashfs says that squashfs-tools is not installed.
var ErrNoMksquashfs = errors.New("mksquashfs is not installed (Debian package squashfs-tools)")

// PackOptions says what goes into the file besides the root file system.
type PackOptions struct {
	// Arch is a GOARCH name; empty means this machine's.
	Arch string
	// Definition, InspectMetadata and OCIConfig are written when not empty.
	Definition, InspectMetadata, OCIConfig string
}

// Pack makes root into a native SIF at out. The same input gives the same bytes,
// and every file in the image belongs to root.
func Pack(ctx context.Context, root, out string, o PackOptions) error {
	squash, done, err := squashfs(ctx, root, filepath.Dir(out))
	if err != nil {
		return fmt.Errorf("pack %s: %w", root, err)
	}
	defer done()
	if o.Arch == "" {
		o.Arch = goruntime.GOARCH
	}
	var objects []sif.Object
	if o.Definition != "" {
		objects = append(objects, sif.Object{Type: sif.TypeDefinition, Data: strings.NewReader(o.Definition)})
	}
	if o.InspectMetadata != "" {
		objects = append(objects, sif.Object{
			Type: sif.TypeJSON, Name: "inspect-metadata.json", Data: strings.NewReader(o.InspectMetadata),
		})
	}
	if o.OCIConfig != "" {
		objects = append(objects, sif.Object{
			Type: sif.TypeJSON, Name: "oci-config.json", Data: strings.NewReader(o.OCIConfig),
		})
	}
	objects = append(objects, sif.Object{
		Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: o.Arch, Data: squash,
	})
	return sif.Create(out, sif.Options{Objects: objects, Deterministic: true})
}

// squashfs packs root into a temporary file in dir that done removes.
func squashfs(ctx context.Context, root, dir string) (f *os.File, done func(), err error) {
	tool, err := exec.LookPath("mksquashfs")
	if err != nil {
		tool, err = exec.LookPath("/usr/sbin/mksquashfs")
	}
	if err != nil {
		return nil, nil, ErrNoMksquashfs
	}
	if info, err := os.Stat(root); err != nil {
		return nil, nil, err
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is not a directory", root)
	}
	tmp, err := os.MkdirTemp(dir, ".squashfs-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(tmp) }
	path := filepath.Join(tmp, "root.squashfs")
	cmd := exec.CommandContext(ctx, tool, root, path, "-noappend", "-comp", "gzip", "-all-root",
		"-no-progress", "-quiet", "-mkfs-time", "0", "-all-time", "0")
	// mksquashfs refuses its time options beside this variable.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "SOURCE_DATE_EPOCH=")
	})
	if text, err := cmd.CombinedOutput(); err != nil {
		remove()
		return nil, nil, fmt.Errorf("mksquashfs: %w: %s", err, strings.TrimSpace(string(text)))
	}
	if f, err = os.Open(path); err != nil {
		remove()
		return nil, nil, err
	}
	return f, func() { _ = f.Close(); remove() }, nil
}
