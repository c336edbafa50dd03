package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/squashfs"
)

// maxDocument is what readers of SIF files take for a document.
const maxDocument = 4 << 20

// Labels that say what a file was made of, as OCI names them.
const (
	labelSource       = "org.opencontainers.image.base.name"
	labelSourceDigest = "org.opencontainers.image.base.digest"
)

// metadata is what the file says of the image: in the image, and beside it.
type metadata struct {
	files      []contract.File
	definition string
	config     json.RawMessage
	time       time.Time
}

func newMetadata(image *source.Image, c contract.Config) metadata {
	d := definition.From(origin(image.Name))
	header := map[string]string{}
	for _, k := range d.Stages[0].Header {
		header[k.Name] = k.Value
	}
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, contract.BuildLabels(c.Architecture, c.Created, header))
	labels[labelSource] = image.Name
	if image.Manifest != (v1.Hash{}) {
		labels[labelSourceDigest] = image.Manifest.String()
	}
	return metadata{
		files:      append(contract.Base(&c), contract.LabelsFile(labels), contract.Regular(contract.DefinitionPath, 0o644, d.Text)),
		definition: d.Text, config: c.Inner, time: c.Created,
	}
}

// origin is the head of the definition file that would build the image.
func origin(name string) (bootstrap, from string) {
	scheme, rest, ok := source.Scheme(name)
	if !ok || scheme == "" {
		return "docker", name
	}
	return scheme, strings.TrimPrefix(rest, "//")
}

// objects are the documents of the SIF file, in the order that Singularity has.
func (m metadata) objects() ([]sif.Object, error) {
	inspect, err := contract.MetadataOf(m.files).JSON()
	if err != nil || len(m.config) > maxDocument {
		return nil, errors.New("image config: it is too large: labels, environment and commands of 4 MiB are the most")
	}
	return []sif.Object{
		{Type: sif.TypeDefinition, Data: strings.NewReader(m.definition)},
		{Type: sif.TypeJSON, Name: "inspect-metadata.json", Data: strings.NewReader(string(inspect))},
		{Type: sif.TypeJSON, Name: "oci-config.json", Data: strings.NewReader(string(m.config))},
	}, nil
}

// add puts the metadata over the image's own files.
func (m metadata) add(w *squashfs.Writer) error {
	err := contract.Place(tree{w, m.time}, m.files)
	if errors.Is(err, contract.ErrInTheWay) {
		return fmt.Errorf("%w: %w", source.ErrUnsupported, err)
	}
	return err
}

// tree is a squashfs in the making.
type tree struct {
	w    *squashfs.Writer
	time time.Time
}

// Kind is the type of the inode at a path.
func (t tree) Kind(name string) (uint32, error) {
	mode, _, ok := t.w.Mode(name)
	if !ok {
		return 0, nil
	}
	return mode & contract.TypeMask, nil
}

// Add adds an inode, or puts it in the place of another.
func (t tree) Add(f contract.File) error {
	e := squashfs.Entry{Path: f.Path, Mode: f.Mode, ModTime: t.time}
	switch {
	case f.Mode&contract.TypeMask == contract.TypeLink:
		e.Target = f.Content
	case f.Content != "":
		e.Size = int64(len(f.Content))
		return t.w.Add(e, strings.NewReader(f.Content))
	}
	return t.w.Add(e, nil)
}

// parseConfig reads the config of an image that can be run here.
func parseConfig(text []byte) (contract.Config, error) {
	c, err := contract.ParseConfig(text)
	if err == nil && c.OS != "" && c.OS != "linux" {
		err = fmt.Errorf("%w: image config: os is %q, only linux can be run", source.ErrUnsupported, c.OS)
	}
	return c, err
}
