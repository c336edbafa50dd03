package node

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/test/registrytest"
)

// protectedImage is an image of a layer with a file and its ACL.
func protectedImage(t *testing.T, content string) v1.Image {
	t.Helper()
	return registrytest.Image(t, v1.Config{}, registrytest.LayerOf(t, registrytest.None,
		tarOf(t, tarFile{Name: "dir/file", Linkname: content, PAXRecords: attr(accessACL, aclFor(1, 2, 3))})))
}

func TestAStoreThatCantHoldACLsSaysWhatIsLost(t *testing.T) {
	if !isolated(t) {
		return
	}
	reg, dir := ownRegistry(t), t.TempDir()
	pushed := protectedImage(t, "text")
	reg.Push(t, "app", pushed)
	// A file system without extended attributes.
	must(t, syscall.Mount("ramfs", dir, "ramfs", 0, ""))
	defer func() { must(t, syscall.Unmount(dir, 0)) }()
	var said bytes.Buffer
	s, err := image.Open(dir, image.Options{Registry: reg.Client(t, nil), Log: slog.New(slog.NewTextHandler(&said, nil))})
	must(t, err)
	img, err := s.Pull(t.Context(), reg.Host+"/app", image.PullOptions{})
	must(t, err)
	if len(img.Extents) != 1 {
		t.Errorf("extents are %v, want the layer alone", img.Extents)
	}
	if text := said.String(); !strings.Contains(text, "ACLs that can't be kept") || !strings.Contains(text, "names=1 of=1") {
		t.Errorf("the log says %q, want that one ACL can't be kept", text)
	}
	again, err := image.Open(dir, image.Options{Registry: reg.Client(t, nil)})
	must(t, err)
	reg.Reset()
	_, err = again.Pull(t.Context(), reg.Host+"/app", image.PullOptions{})
	must(t, err)
	layers, err := pushed.Layers()
	must(t, err)
	digest, err := layers[0].Digest()
	must(t, err)
	if reg.BlobGets(digest.String()) > 0 {
		t.Error("a layer whose ACLs are lost was pulled again")
	}
	must(t, again.Remove(t.Context(), img.ID))
	if left, err := os.ReadDir(filepath.Join(dir, "layers")); err != nil || len(left) > 0 {
		t.Errorf("%v were left (%v)", left, err)
	}
}

func TestACLsOnAFullDiskLeaveNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	reg, dir := ownRegistry(t), t.TempDir()
	noise := make([]byte, 300<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	reg.Push(t, "app", protectedImage(t, string(noise)))
	for _, size := range []string{"400k", "500k", "600k"} {
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
		s, err := image.Open(dir, image.Options{Registry: reg.Client(t, nil)})
		must(t, err)
		if _, err = s.Pull(t.Context(), reg.Host+"/app", image.PullOptions{}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: Pull = %v, want ENOSPC", size, err)
		} else if size != "400k" && !strings.Contains(err.Error(), "keep ACLs") {
			t.Errorf("%s: Pull = %v, want that the ACLs can't be kept", size, err)
		}
		for _, sub := range []string{"layers", "ingest", "downloads", "images"} {
			if left, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(left) > 0 {
				t.Errorf("%s: %s has %v (%v), want nothing", size, sub, left, err)
			}
		}
		must(t, syscall.Unmount(dir, 0))
	}
}
