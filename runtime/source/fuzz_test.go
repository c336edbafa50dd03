package source

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// FuzzArchive opens archives of any content and reads every layer it is told of.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f,
		part{name: "c.json", text: `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]}}`},
		part{name: "real/layer.tar", text: "x"}, part{name: "a/layer.tar", link: "../real/layer.tar", kind: tar.TypeSymlink},
		part{name: "manifest.json", text: `[{"Config":"c.json","RepoTags":["a:1"],"Layers":["a/layer.tar"]}]`}))
	path := filepath.Join(f.TempDir(), "image.tar")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		image, err := Open(t.Context(), "docker-archive:"+path, Options{Spool: t.TempDir(), Arch: "amd64"})
		if err != nil {
			return
		}
		defer image.Blobs.Close()
		for _, layer := range image.Layers {
			r, err := image.Blob(t.Context(), layer.Descriptor)
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, r)
			if err == nil && n != layer.Size {
				t.Errorf("read %d bytes of %d", n, layer.Size)
			}
			r.Close()
		}
	})
}

// FuzzDocument holds manifests of any content to what is promised of those that pass.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]}`), "")
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}}]}`), string(types.OCIImageIndex))
	f.Fuzz(func(t *testing.T, raw []byte, served string) {
		d, err := parseDocument(raw, types.MediaType(served))
		if err != nil {
			return
		}
		if sif, err := d.sif(); err == nil && sif != nil && (sif.Size < 0 || sif.Digest.Algorithm != "sha256") {
			t.Errorf("SIF %+v", sif)
		}
		if d.checkImage() == nil && (d.Config.Size < 0 || len(d.Layers) > maxLayers) {
			t.Errorf("image %+v", d)
		}
	})
}
