package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/sif"
)

// maxExtents is how many file systems the kernel's overlay stacks.
const maxExtents = 500

// ociContent is what the record of an OCI image says of what is in it.
type ociContent struct {
	Arch   string `json:"arch,omitempty"`
	Config Config `json:"config"`
	// Inner is all that the image's config says of its containers.
	Inner json.RawMessage `json:"inner,omitempty"`
	// Layers are lowest first.
	Layers []storedLayer `json:"layers"`
}

// storedLayer is a file system in a file of the store.
type storedLayer struct {
	// DiffID is the layer's; empty for what the store itself laid on top.
	DiffID string `json:"diff_id,omitempty"`
	// File is the file's name in layers/, without suffix, Bytes its size.
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	// The extent.
	FS     string `json:"fs"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	// ACLs says that a directory is beside the file, of ACLBytes.
	ACLs     protection `json:"acls,omitempty"`
	ACLBytes int64      `json:"acl_bytes,omitempty"`
}

func (l storedLayer) valid() bool {
	return isDigest(idScheme+l.File) && l.Offset >= 0 && l.Size > 0 && l.Size <= l.Bytes && l.Offset <= l.Bytes-l.Size &&
		l.ACLBytes >= 0
}

// valid says that a record makes sense.
func (o *ociContent) valid() bool {
	return o == nil || len(o.Layers) > 0 && len(o.Layers) <= maxExtents &&
		!slices.ContainsFunc(o.Layers, func(l storedLayer) bool { return !l.valid() })
}

// layerPath is where a layer of the store is.
func (s *Store) layerPath(file string) string { return filepath.Join(s.dir, layersDir, file+sifSuffix) }

// ociImage is the image of an OCI image's record. An image with a layer that is
// gone is ErrNotFound, so that pulling it makes it whole.
func (s *Store) ociImage(e entry) (Image, error) {
	image := Image{ID: e.ID, Arch: e.OCI.Arch, Config: e.OCI.Config, Inner: e.OCI.Inner}
	for i, l := range e.OCI.Layers {
		path := s.layerPath(l.File)
		info, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Image{}, fmt.Errorf("image %s: layer %d: %w", e.name(), i+1, err)
		}
		if err != nil || info.Size() != l.Bytes {
			return Image{}, damaged(fmt.Errorf("image %s: layer %d is damaged or gone from the store; pull the image again", e.name(), i+1))
		}
		image.Size += l.Bytes
		image.Extents = append(image.Extents, Extent{Path: path, Offset: l.Offset, Size: l.Size, FS: l.FS})
		if l.ACLs == aclsKept {
			dir := filepath.Join(besides(path), aclRoot)
			if _, err := os.Stat(dir); err != nil {
				return Image{}, damaged(fmt.Errorf("image %s: ACLs of layer %d are gone from the store; pull the image again", e.name(), i+1))
			}
			image.Size += l.ACLBytes
			image.Extents = append(image.Extents, Extent{Path: dir, FS: directoryFS})
		}
		if l.DiffID != "" {
			image.Layers = append(image.Layers, l.DiffID)
		}
	}
	return image, nil
}

func damaged(err error) error { return &kindError{ErrNotFound, &kindError{ErrDamaged, err}} }

// readConfig reads an OCI config and checks that a machine of the architecture can run
// the image. inner is the part that is about containers, as it is.
func readConfig(text []byte, host string) (arch string, c Config, inner json.RawMessage, err error) {
	var raw struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Config       struct {
			Entrypoint, Cmd, Env         []string
			WorkingDir, User, StopSignal string
			Labels                       map[string]string
			Volumes, ExposedPorts        map[string]struct{}
			Healthcheck                  *sif.Healthcheck
		} `json:"config"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return "", Config{}, nil, &kindError{ErrInvalid, fmt.Errorf("config: %w", err)}
	}
	refuse := func(format string, args ...any) (string, Config, json.RawMessage, error) {
		return "", Config{}, nil, &kindError{ErrInvalid, fmt.Errorf("config: "+format, args...)}
	}
	if host == "" {
		host = goruntime.GOARCH
	}
	runs := raw.Architecture == "" || raw.Architecture == host ||
		host == "amd64" && raw.Architecture == "386" || host == "arm64" && raw.Architecture == "arm"
	switch {
	case raw.OS != "" && raw.OS != "linux":
		return refuse("os is %q, only linux can be run", raw.OS)
	case !runs:
		return refuse("architecture is %s, which can't run on this machine (%s)", raw.Architecture, host)
	}
	var whole struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		return refuse("%w", err)
	}
	in := raw.Config
	return raw.Architecture, Config{
		Entrypoint: in.Entrypoint, Cmd: in.Cmd, Env: in.Env, WorkingDir: in.WorkingDir, User: in.User,
		StopSignal: in.StopSignal, Labels: in.Labels,
		Volumes: slices.Sorted(maps.Keys(in.Volumes)), ExposedPorts: slices.Sorted(maps.Keys(in.ExposedPorts)),
		Healthcheck: in.Healthcheck,
	}, whole.Config, nil
}

// files are those of the store that an image is made of, relative to it.
func (e entry) files() []string {
	switch {
	case e.InPlace:
		return nil
	case e.OCI == nil:
		return []string{filepath.Join(blobsDir, strings.TrimPrefix(e.ID, idScheme)+sifSuffix)}
	}
	var files []string
	for _, l := range e.OCI.Layers {
		if l.ACLs != "" {
			files = append(files, filepath.Join(layersDir, l.File+aclSuffix))
		}
		files = append(files, filepath.Join(layersDir, l.File+sifSuffix))
	}
	return files
}

// name is what to call the image in an error.
func (e entry) name() string {
	for _, names := range [][]string{e.References, e.Digests} {
		if len(names) > 0 {
			return names[0]
		}
	}
	return e.ID
}

// unwanted says that no name leads to the image and nobody keeps it.
func (e entry) unwanted() bool { return len(e.References) == 0 && len(e.Digests) == 0 && !e.Kept }
