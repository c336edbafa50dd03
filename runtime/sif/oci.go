package sif

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	layerSquashfs = "application/vnd.sylabs.image.layer.v1.squashfs"
	layerExt3     = "application/vnd.sylabs.image.layer.v1.ext3"
	dataContainer = "application/vnd.sylabs.data-container.v1"
	// maxLayers is what the kernel's overlay file system stacks.
	maxLayers = 500
	refName   = "org.opencontainers.image.ref.name"
)

type ociDescriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
}

// ociImage follows the root index to the one image in it. The index, manifest
// and config are checked against their digests; layers are matched to the
// digest their descriptor claims, since reading gigabytes to start a container
// is no option.
func (f *File) ociImage() (Image, error) {
	manifest, err := f.manifest()
	if err != nil {
		return Image{}, err
	}
	all, err := f.blobs()
	if err != nil {
		return Image{}, err
	}
	var m struct {
		ArtifactType string          `json:"artifactType"`
		Config       ociDescriptor   `json:"config"`
		Layers       []ociDescriptor `json:"layers"`
	}
	if err := f.ociDocument("OCI manifest", all, manifest, &m); err != nil {
		return Image{}, err
	}
	if m.ArtifactType == dataContainer || manifest.ArtifactType == dataContainer {
		return Image{}, unsupported("OCI manifest", "artifact type: a data container holds no image to run")
	}
	var c struct {
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		Config       rawConfig `json:"config"`
	}
	if err := f.ociDocument("OCI config", all, m.Config, &c); err != nil {
		return Image{}, err
	}
	if c.OS != "" && c.OS != "linux" {
		return Image{}, unsupported("OCI config", "os is %q, only linux can be run", c.OS)
	}
	if len(m.Layers) > maxLayers {
		return Image{}, unsupported("OCI manifest", "layers: %d are more than can be stacked (%d)", len(m.Layers), maxLayers)
	}
	if len(m.Layers) == 0 {
		return Image{}, unsupported("OCI manifest", "layers: there are none, so there is nothing to run")
	}
	image := Image{Arch: c.Architecture, Config: c.Config.config()}
	for i, layer := range m.Layers {
		e, err := f.layer(fmt.Sprintf("OCI layer %d", i), all, layer)
		if err != nil {
			return Image{}, err
		}
		// A layer that comes twice has all it holds on top; the kernel refuses
		// to stack one file system twice.
		image.Extents = slices.DeleteFunc(image.Extents, func(x Extent) bool { return x.Offset == e.Offset })
		image.Extents = append(image.Extents, e)
	}
	return image, nil
}

// manifest finds the one image manifest in the root index.
func (f *File) manifest() (ociDescriptor, error) {
	const part = "OCI root index"
	i := slices.IndexFunc(f.Descriptors, func(d Descriptor) bool { return d.Type == TypeOCIIndex })
	root := f.Descriptors[i]
	var index struct {
		Manifests []ociDescriptor `json:"manifests"`
	}
	text, err := f.Read(root)
	if err != nil {
		return ociDescriptor{}, err
	}
	if root.Digest != "" && root.Digest != digestOf(text) {
		return ociDescriptor{}, corrupt(part, "digest is %s, not %s as descriptor %d says", digestOf(text), root.Digest, root.Slot)
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return ociDescriptor{}, corrupt(part, "%v", err)
	}
	// Signatures are stored as images beside the one they sign.
	images := slices.DeleteFunc(index.Manifests, func(d ociDescriptor) bool {
		return strings.HasPrefix(d.Annotations[refName], "_cosign")
	})
	if len(images) != 1 {
		return ociDescriptor{}, unsupported(part, "manifests: %d images, want one", len(images))
	}
	switch m := images[0]; m.MediaType {
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json":
		return m, nil
	default:
		return m, unsupported(part, "manifests: media type %q is not an image's", m.MediaType)
	}
}

// ociDocument reads the JSON blob that d names into v.
func (f *File) ociDocument(part string, all blobs, d ociDescriptor, v any) error {
	blob, err := all.find(part, d)
	if err != nil {
		return err
	}
	text, err := f.Read(blob)
	if err != nil {
		return err
	}
	if digest := digestOf(text); digest != d.Digest {
		return corrupt(part, "digest is %s, not %s", digest, d.Digest)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return corrupt(part, "%v", err)
	}
	return nil
}

// blobs are the OCI objects of a file by digest.
type blobs map[string]Descriptor

// blobs finds the digests of the OCI objects: in their descriptors or, where
// those are silent, by hashing what is small.
func (f *File) blobs() (blobs, error) {
	found, budget := blobs{}, int64(4*maxDocument)
	for _, d := range f.Descriptors {
		if d.Type != TypeOCIBlob {
			continue
		}
		if d.Digest == "" {
			if budget -= d.Size; d.Size > maxDocument || budget < 0 {
				continue
			}
			text, err := f.Read(d)
			if err != nil {
				return nil, err
			}
			d.Digest = digestOf(text)
		}
		if _, ok := found[d.Digest]; !ok {
			found[d.Digest] = d
		}
	}
	return found, nil
}

func (b blobs) find(part string, d ociDescriptor) (Descriptor, error) {
	if !isDigest(d.Digest) {
		return Descriptor{}, corrupt(part, "digest %q is not sha256:<64 hex digits>", d.Digest)
	}
	blob, ok := b[d.Digest]
	if !ok {
		return blob, corrupt(part, "digest %s: no object has it", d.Digest)
	}
	if blob.Size != d.Size {
		return blob, corrupt(part, "size is %d, descriptor %d has %d bytes", d.Size, blob.Slot, blob.Size)
	}
	return blob, nil
}

func (f *File) layer(part string, all blobs, d ociDescriptor) (Extent, error) {
	e := Extent{FS: FSSquash.String()}
	switch d.MediaType {
	case layerSquashfs:
	case layerExt3:
		e.FS = FSExt3.String()
	default:
		return e, unsupported(part, "media type %q can't be mounted, only squashfs and ext3 layers can", d.MediaType)
	}
	blob, err := all.find(part, d)
	if err != nil {
		return e, err
	}
	e.Offset, e.Size = blob.Offset, blob.Size
	e.Compression, err = f.superblock(part, e)
	return e, err
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func isDigest(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}
