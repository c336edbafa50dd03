package siftest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/sif"
)

// OCIOptions says what an OCI-SIF holds.
type OCIOptions struct {
	// Busybox makes the lowest layer a root file system as Build does, without
	// /.singularity.d.
	Busybox bool
	// Layers are put on top, lowest first, each with files as in
	// [Options].Files.
	Layers []map[string]string
	// Config is the inner object of the image config: {"Cmd": ["sh"]}.
	Config string
	// Arch is a GOARCH name; empty means this machine's.
	Arch string
}

// BuildOCI makes an OCI-SIF as Build makes a native SIF. It is not cached.
func BuildOCI(tb testing.TB, o OCIOptions) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "image.oci.sif")
	if err := packOCI(tb.Context(), tb.TempDir(), out, o); err != nil {
		if errors.Is(err, ErrNoMksquashfs) || errors.Is(err, ErrNoBusybox) {
			tb.Skip(err)
		}
		tb.Fatalf("siftest.BuildOCI: %v", err)
	}
	return out
}

type ociDescriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

type ociWriter struct {
	objects []sif.Object
}

// blob adds an object and describes it.
func (w *ociWriter) blob(kind sif.DataType, mediaType string, text []byte) ociDescriptor {
	w.objects = append(w.objects, sif.Object{Type: kind, Data: strings.NewReader(string(text))})
	sum := sha256.Sum256(text)
	return ociDescriptor{mediaType, "sha256:" + hex.EncodeToString(sum[:]), len(text)}
}

func (w *ociWriter) document(kind sif.DataType, mediaType string, v any) (ociDescriptor, error) {
	text, err := json.Marshal(v)
	return w.blob(kind, mediaType, text), err
}

func packOCI(ctx context.Context, scratch, out string, o OCIOptions) error {
	var w ociWriter
	var layers []ociDescriptor
	diffIDs := []string{} // a squashfs layer's content is the layer as it is
	for i, root := range o.roots(scratch) {
		if err := root.make(); err != nil {
			return err
		}
		text, err := squashBytes(ctx, root.dir, scratch)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		layer := w.blob(sif.TypeOCIBlob, "application/vnd.sylabs.image.layer.v1.squashfs", text)
		layers, diffIDs = append(layers, layer), append(diffIDs, layer.Digest)
	}
	if o.Arch == "" {
		o.Arch = goruntime.GOARCH
	}
	if o.Config == "" {
		o.Config = "{}"
	}
	config, err := w.document(sif.TypeOCIBlob, "application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": o.Arch, "os": "linux", "config": json.RawMessage(o.Config),
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return err
	}
	manifest, err := w.document(sif.TypeOCIBlob, "application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "config": config, "layers": layers,
	})
	if err != nil {
		return err
	}
	_, err = w.document(sif.TypeOCIIndex, "", map[string]any{
		"schemaVersion": 2, "manifests": []ociDescriptor{manifest},
	})
	if err != nil {
		return err
	}
	return sif.Create(out, sif.Options{Objects: w.objects, Deterministic: true})
}

// layerRoot is a directory to become a layer.
type layerRoot struct {
	dir  string
	make func() error
}

func (o OCIOptions) roots(scratch string) []layerRoot {
	var roots []layerRoot
	if o.Busybox {
		dir := filepath.Join(scratch, "base")
		roots = append(roots, layerRoot{dir, func() error { return WriteTree(dir, Options{Busybox: true, Bare: true}) }})
	}
	for i, files := range o.Layers {
		dir := filepath.Join(scratch, fmt.Sprintf("layer-%d", i))
		roots = append(roots, layerRoot{dir, func() error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for name, text := range files {
				if err := add(dir, strings.TrimPrefix(name, "/"), text); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return roots
}

func squashBytes(ctx context.Context, root, scratch string) ([]byte, error) {
	f, done, err := squashfs(ctx, root, scratch)
	if err != nil {
		return nil, err
	}
	defer done()
	return os.ReadFile(f.Name())
}
