package source

import (
	"encoding/json"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/registry"
)

const (
	maxManifest = 4 << 20
	maxConfig   = 4 << 20
	maxLayers   = 1024
)

// The media types that go-containerregistry does not know.
const (
	sifConfig    types.MediaType = "application/vnd.sylabs.sif.config.v1+json"
	sifConfigOld types.MediaType = "application/vnd.sylabs.sif.config.v1"
	sifLayer     types.MediaType = "application/vnd.sylabs.sif.layer.v1.sif"
	// Singularity before 3.7 had this one, misspelt.
	sifLayerOld types.MediaType = "appliciation/vnd.sylabs.sif.layer.tar"

	squashfsLayer    types.MediaType = "application/vnd.sylabs.image.layer.v1.squashfs"
	ext3Layer        types.MediaType = "application/vnd.sylabs.image.layer.v1.ext3"
	dockerZstdLayer  types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	dockerZstdLayer2 types.MediaType = "application/vnd.docker.image.rootfs.diff.tar+zstd"
)

// document is a manifest or an index: which of them, its fields say.
type document struct {
	MediaType    types.MediaType `json:"mediaType"`
	ArtifactType string          `json:"artifactType"`
	Config       *v1.Descriptor  `json:"config"`
	Layers       []v1.Descriptor `json:"layers"`
	Manifests    []v1.Descriptor `json:"manifests"`
	FSLayers     json.RawMessage `json:"fsLayers"`
}

// parseDocument reads a manifest or an index. served is the media type that its
// source gives, if any. What can be taken for both is neither.
func parseDocument(raw []byte, served types.MediaType) (*document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", registry.ErrCorrupt, err)
	}
	if bare, _, err := mime.ParseMediaType(string(served)); err == nil {
		served = types.MediaType(bare)
	}
	known := served.IsImage() || served.IsIndex() || served.IsSchema1()
	if known && d.MediaType != "" && d.MediaType != served {
		return nil, fmt.Errorf("%w: manifest served as %s says it is %s", registry.ErrCorrupt, served, plain(d.MediaType))
	}
	if d.MediaType == "" && known {
		d.MediaType = served
	}
	if d.FSLayers != nil || d.MediaType.IsSchema1() {
		return nil, fmt.Errorf("%w: a Docker manifest of schema 1, given up in 2019: push the image again with a newer tool", ErrUnsupported)
	}
	isIndex, isManifest := d.Manifests != nil, d.Config != nil || d.Layers != nil
	switch {
	case isIndex && isManifest:
		return nil, fmt.Errorf("%w: one document is both a manifest and an index", registry.ErrCorrupt)
	case !isIndex && !isManifest && !d.MediaType.IsIndex():
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, d.kind("what is there is no manifest"))
	case isIndex && d.MediaType.IsImage(), isManifest && d.MediaType.IsIndex():
		return nil, fmt.Errorf("%w: manifest is not the %s it says", registry.ErrCorrupt, plain(d.MediaType))
	}
	return &d, nil
}

// plain is a stranger's media type for people.
func plain(mediaType types.MediaType) string { return registry.Clean(string(mediaType)) }

func (d *document) kind(otherwise string) string {
	switch {
	case d.ArtifactType != "":
		return "it is an artifact of type " + registry.Clean(d.ArtifactType)
	case d.Config != nil && d.Config.MediaType != "" && !d.Config.MediaType.IsConfig():
		return "it is an artifact of type " + plain(d.Config.MediaType)
	case d.MediaType != "" && !d.MediaType.IsImage():
		return "it is a " + plain(d.MediaType)
	}
	return otherwise
}

// sif finds the SIF file of a SIF artifact; nil if it is none.
func (d *document) sif() (*v1.Descriptor, error) {
	isSIF := func(l v1.Descriptor) bool { return l.MediaType == sifLayer || l.MediaType == sifLayerOld }
	i := slices.IndexFunc(d.Layers, isSIF)
	if i < 0 {
		if d.Config != nil && (d.Config.MediaType == sifConfig || d.Config.MediaType == sifConfigOld) {
			return nil, fmt.Errorf("%w: a SIF artifact with no SIF in it", registry.ErrCorrupt)
		}
		return nil, nil //nolint:nilnil // no SIF artifact and no error
	}
	if slices.ContainsFunc(d.Layers[i+1:], isSIF) {
		return nil, fmt.Errorf("%w: an artifact of several SIF files", ErrUnsupported)
	}
	if err := checkDescriptor(d.Layers[i]); err != nil {
		return nil, fmt.Errorf("SIF: %w", err)
	}
	return &d.Layers[i], nil
}

// checkImage says what keeps a manifest from being an image to run.
func (d *document) checkImage() error {
	if d.Config == nil {
		return fmt.Errorf("%w: manifest without config", registry.ErrCorrupt)
	}
	if !d.Config.MediaType.IsConfig() {
		return fmt.Errorf("%w: %s, not an image to run", ErrUnsupported, d.kind("its config has no known type"))
	}
	if err := checkDescriptor(*d.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if len(d.Layers) > maxLayers {
		return fmt.Errorf("%w: %d layers, more than %d", ErrUnsupported, len(d.Layers), maxLayers)
	}
	for i, layer := range d.Layers {
		if err := checkLayer(layer); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}

func checkLayer(layer v1.Descriptor) error {
	switch layer.MediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
		squashfsLayer, ext3Layer, dockerZstdLayer, dockerZstdLayer2:
	case types.DockerForeignLayer, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer:
		// What an image says is elsewhere may be anywhere inside this network.
		if len(layer.URLs) > 0 {
			return fmt.Errorf("%w: %s is not kept with the image but at %s", ErrUnsupported, layer.Digest, registry.Clean(layer.URLs[0]))
		}
	default:
		return fmt.Errorf("%w: it is a %s", ErrUnsupported, plain(layer.MediaType))
	}
	return checkDescriptor(layer)
}

// isFileSystem says that a layer is used as it is.
func isFileSystem(layer v1.Descriptor) bool {
	return layer.MediaType == squashfsLayer || layer.MediaType == ext3Layer
}

func checkDescriptor(d v1.Descriptor) error {
	switch {
	case d.Digest == v1.Hash{}:
		return fmt.Errorf("%w: no digest", registry.ErrCorrupt)
	case d.Digest.Algorithm != "sha256":
		return fmt.Errorf("%w: a digest by %s", ErrUnsupported, d.Digest.Algorithm)
	case d.Size < 0:
		return fmt.Errorf("%w: %s has a size of %d", registry.ErrCorrupt, d.Digest, d.Size)
	}
	return nil
}

// config is what of an OCI config decides whether the image can be used.
type config struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	RootFS       struct {
		DiffIDs []v1.Hash `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig reads a config for an image of so many layers on one of the wanted platforms.
func parseConfig(raw []byte, layers int, wanted []v1.Platform) (*config, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: config: %w", registry.ErrCorrupt, err)
	}
	p := v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	// Some tools leave both out: then there is nothing to object to.
	if (p.OS != "" || p.Architecture != "") && rank(wanted, p) < 0 {
		return nil, fmt.Errorf("%w %s: it is for %s", ErrPlatform, spelled(wanted[0]), registry.Clean(spelled(p)))
	}
	if n := len(c.RootFS.DiffIDs); n != layers {
		return nil, fmt.Errorf("%w: config has %d diff_ids for %d layers", registry.ErrCorrupt, n, layers)
	}
	for i, id := range c.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return nil, fmt.Errorf("%w: layer %d: a diff_id by %q", ErrUnsupported, i+1, id.Algorithm)
		}
	}
	return &c, nil
}

// fileName is the last element of a name that someone else chose, or nothing.
func fileName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	control := func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }
	if name == "." || name == ".." || name == "/" || len(name) > 255 || strings.ContainsFunc(name, control) {
		return ""
	}
	return name
}
