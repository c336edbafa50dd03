package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/trust"
)

// Trust decides which images may run; *trust.Policy is one. It needs no network.
type Trust interface {
	Check(ctx context.Context, s trust.Subject) error
}

// permit says whether an image may run in a Kubernetes namespace, which is empty
// for a person's containers. An image that may not is ErrDenied.
func permit(ctx context.Context, by Trust, i *resolvedImage, namespace string) error {
	if by == nil {
		return nil
	}
	err := by.Check(ctx, trust.Subject{
		References: i.References, Namespace: namespace, ID: i.ID, Path: i.Path,
		Manifests: i.Manifests, Signatures: i.Signatures,
	})
	if errors.Is(err, trust.ErrPolicy) {
		return as(ErrDenied, err)
	}
	return err
}

// Usable says whether the images of a container that is to be created are there, and may run.
func (e *Engine) Usable(ctx context.Context, of InstanceSpec, spec ContainerSpec) error {
	var rec containerRecord
	var err error
	if rec.Image, err = e.resolve(ctx, spec.Image); err != nil {
		return err
	}
	if rec.Images, err = e.resolveMounts(ctx, spec.Mounts); err != nil {
		return err
	}
	planned := &container{inst: &instance{rec: instanceRecord{Spec: of}}}
	return errors.Join(e.mountable(&rec), e.permitAll(ctx, planned, &rec))
}

// permitAll checks the images of a container: its own and those it mounts.
func (e *Engine) permitAll(ctx context.Context, c *container, rec *containerRecord) error {
	if e.cfg.Trust == nil {
		return nil
	}
	namespace := c.inst.rec.Spec.Metadata.Namespace // never changed
	if err := permit(ctx, e.cfg.Trust, &rec.Image, namespace); err != nil {
		return err
	}
	if rec.Restore != nil {
		if err := permit(ctx, e.cfg.Trust, &rec.Restore.Source, namespace); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	for ref := range rec.Images {
		mounted := rec.Images[ref]
		if err := permit(ctx, e.cfg.Trust, &mounted, namespace); err != nil {
			return fmt.Errorf("image volume %s: %w", ref, err)
		}
	}
	return nil
}

// mountable says whether this node mounts all that a container's images consist of.
func (e *Engine) mountable(rec *containerRecord) error {
	if !e.cfg.RefuseExt3 {
		return nil
	}
	if err := refuseExt3(&rec.Image); err != nil {
		return err
	}
	for ref := range rec.Images {
		mounted := rec.Images[ref]
		if err := refuseExt3(&mounted); err != nil {
			return fmt.Errorf("image volume %s: %w", ref, err)
		}
	}
	return nil
}

func refuseExt3(i *resolvedImage) error {
	for n := range i.Extents {
		if e := &i.Extents[n]; e.FS == "ext3" {
			return errorf(ErrDenied, "image %s: partition %d is an ext3 file system, which the kernel of this node mounts for no pod: "+
				"its configuration says mount_ext3 = false. Build the image with squashfs", e.Path, n+1)
		}
	}
	return nil
}

// unchanged says that the files in place of a container's images still are what
// they were when it was created: what was checked then is what runs.
func (e *Engine) unchanged(rec *containerRecord) error {
	if err := e.same(&rec.Image); err != nil {
		return err
	}
	for ref := range rec.Images {
		mounted := rec.Images[ref]
		if err := e.same(&mounted); err != nil {
			return fmt.Errorf("image volume %s: %w", ref, err)
		}
	}
	return nil
}

func (e *Engine) same(i *resolvedImage) error {
	if !i.InPlace || i.Path == "" || e.cfg.Images == nil {
		return nil
	}
	_, err := e.cfg.Images.Lookup(i.Path + "@" + i.ID)
	if errors.Is(err, image.ErrDenied) {
		return as(ErrDenied, err)
	}
	if errors.Is(err, image.ErrNotFound) || errors.Is(err, image.ErrInvalid) {
		return as(ErrNotFound, fmt.Errorf("the image has changed since the container was created: %w", err))
	}
	return err
}
