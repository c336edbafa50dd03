package convert

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/source"
)

func TestWhatIsLostIsCountedOverAllLayers(t *testing.T) {
	// The owner, a user, the group, the mask, the others.
	acl := "\x02\x00\x00\x00" + strings.Join([]string{
		"\x01\x00\x06\x00\xff\xff\xff\xff", "\x02\x00\x04\x00\xe8\x03\x00\x00", "\x04\x00\x04\x00\xff\xff\xff\xff",
		"\x10\x00\x04\x00\xff\xff\xff\xff", "\x20\x00\x00\x00\xff\xff\xff\xff",
	}, "")
	low := layerOf(t, file{name: "d/", xattrs: map[string]string{layer.AccessACL: acl, layer.DefaultACL: acl}},
		file{name: "kept", content: "x", xattrs: map[string]string{"user.kept": "x"}})
	high := layerOf(t, file{name: "a", content: "x", xattrs: map[string]string{layer.AccessACL: acl, "system.other": "x"}},
		file{name: "b", content: "x", xattrs: map[string]string{"system.other": "y"}})
	for name, write := range map[string]func(context.Context, *source.Image, string, Options) error{"flat": Flat, "oci": OCISIF} {
		t.Run(name, func(t *testing.T) {
			var lost Lost
			err := write(t.Context(), imageOf(t, low, high), filepath.Join(t.TempDir(), "x.sif"), Options{Lost: &lost})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Lost{ACLs: 3, Xattrs: map[string]int64{"system.other": 2}}, lost); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsSayWhichLayerAndNothingOfTheFile(t *testing.T) {
	image := imageOf(t, layerOf(t, file{name: "a", content: "x"}), layerOf(t, file{name: "b", content: "x"}))
	image.Layers[1].DiffID = image.Layers[0].DiffID
	for name, write := range map[string]func(context.Context, *source.Image, string, Options) error{"flat": Flat, "oci": OCISIF} {
		err := write(t.Context(), image, filepath.Join(t.TempDir(), "x.sif"), Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "layer 2: ") {
			t.Errorf("%s: %v, want it to begin with the layer", name, err)
		}
	}
}
