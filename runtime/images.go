package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/trust"
)

// Images is what the engine needs of an image store.
type Images interface {
	Lookup(ref string) (image.Image, error)
	Pin(id, owner string) error
	Unpin(owner string) error
	Owners() []string
}

// resolvedImage is what a container needs to know of its image. It is
// recorded, so that what was created can be started whatever becomes of the
// reference.
type resolvedImage struct {
	ID         string           `json:"id"`
	Path       string           `json:"path,omitempty"` // the SIF, if it is one
	InPlace    bool             `json:"in_place,omitempty"`
	Native     bool             `json:"native,omitempty"`
	Extents    []program.Extent `json:"extents"`
	Entrypoint []string         `json:"entrypoint,omitempty"`
	Cmd        []string         `json:"cmd,omitempty"`
	Env        []string         `json:"env,omitempty"`
	WorkingDir string           `json:"working_dir,omitempty"`
	User       string           `json:"user,omitempty"`
	StopSignal string           `json:"stop_signal,omitempty"`
	Volumes    []string         `json:"volumes,omitempty"`
	// What decides whether it may run.
	References []string          `json:"references,omitempty"`
	Manifests  []string          `json:"manifests,omitempty"`
	Signatures []trust.Signature `json:"signatures,omitempty"`
}

// resolve finds an image.
func (v *view) resolve(_ context.Context, ref string) (resolvedImage, error) {
	if v.cfg.Images == nil {
		return resolvedImage{}, errorf(ErrUnavailable, "there is no image store")
	}
	found, err := v.cfg.Images.Lookup(ref)
	switch {
	case errors.Is(err, image.ErrDenied):
		return resolvedImage{}, as(ErrDenied, err)
	case errors.Is(err, image.ErrNotFound):
		return resolvedImage{}, as(ErrNotFound, err)
	case errors.Is(err, image.ErrInvalid), errors.Is(err, image.ErrUnsupported):
		return resolvedImage{}, as(ErrInvalid, err)
	case err != nil:
		return resolvedImage{}, err
	}
	return resolved(found), nil
}

func resolved(i image.Image) resolvedImage {
	out := resolvedImage{
		ID: i.ID, Path: i.Path, InPlace: i.InPlace, Native: i.Native,
		Entrypoint: i.Config.Entrypoint, Cmd: i.Config.Cmd, Env: i.Config.Env,
		WorkingDir: i.Config.WorkingDir, User: i.Config.User, StopSignal: i.Config.StopSignal, Volumes: i.Config.Volumes,
		References: i.Names(), Manifests: i.Manifests, Signatures: i.Signatures,
	}
	for _, e := range i.Extents {
		out.Extents = append(out.Extents, program.Extent{
			Path: e.Path, Offset: e.Offset, Size: e.Size, FS: e.FS, Exact: i.InPlace && e.FS != "directory",
		})
	}
	return out
}

func (r *resolvedImage) plan() plan.Image {
	out := plan.Image{Native: r.Native, WorkingDir: r.WorkingDir, User: r.User, Env: r.Env}
	if r.Native {
		// The image's own scripts hold what a Docker image's config said;
		// the config a converted image carries was ignored when it was made.
		out.Env, out.WorkingDir, out.User = nil, "", ""
		return out
	}
	out.Entrypoint, out.Cmd, out.Volumes = r.Entrypoint, r.Cmd, r.Volumes
	return out
}

// resolveMounts finds the images that mounts name.
func (v *view) resolveMounts(ctx context.Context, mounts []Mount) (map[string]resolvedImage, error) {
	var out map[string]resolvedImage
	for _, m := range mounts {
		if m.Image == "" {
			continue
		}
		found, err := v.resolve(ctx, m.Image)
		if err != nil {
			return nil, as(ErrVolume, fmt.Errorf("mount %s: %w", m.Target, err))
		}
		if out == nil {
			out = map[string]resolvedImage{}
		}
		out[m.Image] = found
	}
	return out, nil
}

// extents are those of the images that mounts name.
func (r *containerRecord) extents() map[string][]program.Extent {
	if len(r.Images) == 0 {
		return nil
	}
	out := make(map[string][]program.Extent, len(r.Images))
	for ref := range r.Images {
		out[ref] = r.Images[ref].Extents
	}
	return out
}

// volumes are the IDs of the images that mounts name.
func (r *containerRecord) volumes() map[string]string {
	if len(r.Images) == 0 {
		return nil
	}
	out := make(map[string]string, len(r.Images))
	for ref := range r.Images {
		out[ref] = r.Images[ref].ID
	}
	return out
}

// pin keeps a container's images on disk.
func (e *Engine) pin(c *container) error {
	if err := e.cfg.Images.Pin(c.rec.Image.ID, c.id); err != nil {
		return fmt.Errorf("pin image: %w", err)
	}
	for ref := range c.rec.Images {
		if err := e.cfg.Images.Pin(c.rec.Images[ref].ID, c.id); err != nil {
			return fmt.Errorf("pin image %s: %w", ref, err)
		}
	}
	return nil
}

func (e *Engine) unpin(c *container) error {
	if e.cfg.Images == nil {
		return nil
	}
	return e.cfg.Images.Unpin(c.id)
}
