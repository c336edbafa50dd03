package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/inspect"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/unsquash"
)

// Layered is the image in a SIF file with its file systems as layers of the kind that
// every runtime unpacks. They are temporary files in dir until Close. The same file gives
// the same image.
type Layered struct {
	Image

	files []io.Closer
}

// Close ends the use of the layers' files, which are the caller's to remove.
func (l *Layered) Close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Layers makes of a SIF file an image with layers. What it has for a runscript is what
// runs, unless that is of the image's own making, of which it was made.
func Layers(ctx context.Context, f *sif.File, dir string) (*Layered, error) {
	img, err := f.Image()
	if err != nil {
		return nil, err
	}
	config, said, err := configOf(f, img)
	if err != nil {
		return nil, err
	}
	out := &Layered{}
	var blobs []Blob
	add := func(l layer) {
		if c, ok := l.Data.(io.Closer); ok {
			out.files = append(out.files, c)
		}
		blobs = append(blobs, l.Blob)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		config.History = append(config.History, v1.History{Created: config.Created, CreatedBy: "siflet push"})
	}
	for i, e := range img.Extents {
		l, err := packExtent(ctx, f, e, dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("file system %d: %w", i, err), out.Close())
		}
		add(l)
	}
	if said != nil {
		l, err := packEntry(*said, config.Created, dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("entry point: %w", err), out.Close())
		}
		add(l)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	out.Image, err = manifest(small(types.OCIConfigJSON, text), blobs...)
	return out, err
}

func packExtent(ctx context.Context, f *sif.File, e sif.Extent, dir string) (layer, error) {
	if e.FS != sif.FSSquash.String() {
		return layer{}, fmt.Errorf("%w: it is %s, which no layer can be made of; push the file as it is to oras://", ErrUnsupported, e.FS)
	}
	r, err := unsquash.NewReader(f.Section(sif.Descriptor{Offset: e.Offset, Size: e.Size}), e.Size)
	if err != nil {
		return layer{}, err
	}
	return pack(ctx, r, dir)
}

// configOf is what a runtime is told of the image, and what the image says of itself if its own
// runscript is what runs.
func configOf(f *sif.File, img sif.Image) (v1.ConfigFile, *contract.Attributes, error) {
	out := v1.ConfigFile{Architecture: img.Arch, OS: "linux", RootFS: v1.RootFS{Type: "layers"}}
	if created := f.Header.Created; !created.IsZero() && created.Unix() > 0 {
		out.Created = v1.Time{Time: created.UTC()}
	}
	if f.IsOCI() {
		content, err := f.OCIContent()
		if err != nil {
			return out, nil, err
		}
		text, err := f.Read(content.Config.Object)
		if err != nil {
			return out, nil, err
		}
		if err := json.Unmarshal(text, &out); err != nil {
			return out, nil, fmt.Errorf("OCI config: %w", err)
		}
		out.RootFS.DiffIDs, out.History = nil, nil
		return out, nil, nil
	}
	if text, err := f.Document("oci-config.json"); err != nil {
		return out, nil, err
	} else if text != nil {
		if err := json.Unmarshal(text, &out.Config); err != nil {
			return out, nil, fmt.Errorf("oci-config.json: %w", err)
		}
	}
	said, recorded, err := inspect.Recorded(f)
	if err != nil {
		return out, nil, err
	}
	var own *contract.Attributes
	if recorded && said.Runscript != "" && !strings.Contains(said.Runscript, "OCI_ENTRYPOINT=") {
		own = &said
		out.Config.Entrypoint, out.Config.Cmd = []string{"/" + pushedDir + "/run"}, nil
	}
	if len(out.Config.Env) == 0 {
		out.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	if len(said.Labels) > 0 {
		labels := maps.Clone(said.Labels)
		maps.Copy(labels, out.Config.Labels)
		out.Config.Labels = labels
	}
	return out, own, nil
}
