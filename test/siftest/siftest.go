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
	"sync"
	"testing"
)

// Build makes a native SIF in a directory of the test's own and returns its
// path. Images with the same options are packed once in a test binary. The test
// is skipped, naming the package, where mksquashfs or busybox is missing.
func Build(tb testing.TB, o Options) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "image.sif")
	if err := build(tb.Context(), tb.TempDir(), out, o); err != nil {
		if errors.Is(err, ErrNoMksquashfs) || errors.Is(err, ErrNoBusybox) {
			tb.Skip(err)
		}
		tb.Fatalf("siftest.Build: %v", err)
	}
	return out
}

// Web is an image whose startscript and runscript serve body by HTTP on the
// port in the variable PORT, 8080 when not set.
func Web(body string) Options {
	serve := "exec httpd -f -p ${PORT:-8080} -h /srv/www"
	return Options{
		Busybox: true, Runscript: serve, Startscript: serve,
		Files: map[string]string{"srv/www/index.html": body},
	}
}

// Write makes a native SIF at out, as Build does, outside of a test.
func Write(ctx context.Context, out string, o Options) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".siftest-")
	if err != nil {
		return err
	}
	err = pack(ctx, dir, out, o)
	return errors.Join(err, os.RemoveAll(dir))
}

func pack(ctx context.Context, dir, out string, o Options) error {
	root := filepath.Join(dir, "root")
	if err := WriteTree(root, o); err != nil {
		return err
	}
	return Pack(ctx, root, out, PackOptions{
		Arch: o.Arch, Definition: o.Definition, InspectMetadata: inspectMetadata(o), OCIConfig: o.OCIConfig,
	})
}

// imagesEnv names a directory that keeps packed images for other test binaries,
// on a machine where packing is slow and that is thrown away after the tests.
const imagesEnv = "SIFLET_TEST_IMAGES"

// cache keeps packed images, a megabyte each, for the life of a test binary:
// in memory, so that nothing is left on disk and no test outlives its files.
type cache struct {
	mu     sync.Mutex
	images map[[32]byte]func() ([]byte, error)
}

//nolint:gochecknoglobals // tests have no main of their own to hold it.
var packed = cache{images: map[[32]byte]func() ([]byte, error){}}

func build(ctx context.Context, scratch, out string, o Options) error {
	if o.Root != "" {
		return pack(ctx, scratch, out, o)
	}
	key, err := json.Marshal(o)
	if err != nil {
		return err
	}
	packed.mu.Lock()
	image, ok := packed.images[sha256.Sum256(key)]
	if !ok {
		image = sync.OnceValues(func() ([]byte, error) {
			return kept(sha256.Sum256(key), func() ([]byte, error) {
				if err := pack(ctx, scratch, out, o); err != nil {
					return nil, err
				}
				return os.ReadFile(out)
			})
		})
		packed.images[sha256.Sum256(key)] = image
	}
	packed.mu.Unlock()
	text, err := image()
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o755)
}

// kept returns the image of that key in the directory for images, if there is
// one, and what pack packs otherwise.
func kept(key [32]byte, pack func() ([]byte, error)) ([]byte, error) {
	dir := os.Getenv(imagesEnv)
	if dir == "" {
		return pack()
	}
	name := filepath.Join(dir, hex.EncodeToString(key[:]))
	if text, err := os.ReadFile(name); err == nil {
		return text, nil
	}
	text, err := pack()
	if err != nil {
		return nil, err
	}
	// Another process may read while this one writes.
	f, err := os.CreateTemp(dir, ".image-")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return text, os.Rename(f.Name(), name)
}

// inspectMetadata is the document that inspect reads instead of the image.
func inspectMetadata(o Options) string {
	if o.Bare {
		return ""
	}
	attributes := map[string]any{
		"apps":        map[string]any{},
		"environment": map[string]string{"/.singularity.d/env/90-environment.sh": o.Environment},
		"labels":      json.RawMessage(asJSON(o.Labels)),
		"deffile":     o.Definition,
		"runscript":   script(o.Runscript),
		"startscript": script(o.Startscript),
	}
	if o.Test != "" {
		attributes["test"] = script(o.Test)
	}
	if o.Help != "" {
		attributes["helpfile"] = o.Help
	}
	text, err := json.Marshal(map[string]any{
		"data": map[string]any{"attributes": attributes}, "type": "container",
	})
	if err != nil {
		return fmt.Sprintf("{%q: %q}", "error", err)
	}
	return string(text)
}
