package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/checkpoint"
	"github.com/siflet/siflet/runtime/image"
)

// CheckpointInstance saves running containers of an instance in the directory dir, which
// is empty. All of them stand still until the last is saved, and go on then, whatever comes
// of it. After an error the directory is empty again.
func (e *Engine) CheckpointInstance(ctx context.Context, id, dir string, ids []string) error {
	err := e.checkpointInstance(ctx, id, dir, ids)
	if err != nil {
		return fmt.Errorf("checkpoint instance: %w", err)
	}
	return nil
}

func (e *Engine) checkpointInstance(ctx context.Context, id, dir string, ids []string) (err error) {
	i, err := e.instance(id)
	if err != nil {
		return err
	}
	list, err := e.selected(i, ids)
	if err != nil {
		return err
	}
	if err := emptyDir(dir); err != nil {
		return err
	}
	for _, c := range list {
		held, err := c.take(ctx, claimCheckpoint)
		if err != nil {
			return err
		}
		if held == nil {
			return errorf(ErrNotFound, "container %s not found", c.id)
		}
		defer func() { c.settle(held, nil) }()
		if err := e.canSave(ctx, c); err != nil {
			return err
		}
	}
	if err := e.savePod(ctx, i, list, dir); err != nil {
		return errors.Join(err, clearDir(dir))
	}
	return nil
}

// selected are the containers with these ids, in an order in which anybody would claim them.
func (e *Engine) selected(i *instance, ids []string) ([]*container, error) {
	if len(ids) == 0 {
		return nil, errorf(ErrInvalid, "no containers are named")
	}
	var list []*container
	for _, id := range ids {
		c, err := e.container(id)
		switch {
		case err != nil:
			return nil, err
		case c.inst != i:
			return nil, errorf(ErrInvalid, "container %s is in another instance", id)
		case slices.Contains(list, c):
			return nil, errorf(ErrInvalid, "container %s is named twice", id)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *container) int { return strings.Compare(a.id, b.id) })
	return list, nil
}

func (e *Engine) savePod(ctx context.Context, i *instance, list []*container, dir string) (err error) {
	for _, c := range list {
		thaw, err := e.freeze(ctx, c)
		if err != nil {
			return err
		}
		defer func() {
			if terr := thaw(); terr != nil {
				e.cfg.Log.Error("container stands still after a checkpoint", "container", c.id, "error", terr)
			}
		}()
	}
	meta := i.rec.Spec.Metadata // never changed
	pod := checkpoint.Pod{Containers: map[string]string{}, Annotations: map[string]string{
		"org.criu.checkpoint.engine.name": "siflet", "org.criu.checkpoint.pod.name": meta.Name,
		"org.criu.checkpoint.pod.namespace": meta.Namespace, "org.criu.checkpoint.pod.uid": meta.UID, "org.criu.checkpoint.pod.id": i.id,
	}}
	for _, c := range list {
		name := c.rec.Spec.Metadata.Name // never changed
		if pod.Containers[name] != "" {
			return errorf(ErrInvalid, "two containers have the name %q", name)
		}
		pod.Containers[name] = c.id + ".tar"
		if err := e.saveInPod(ctx, c, dir); err != nil {
			return fmt.Errorf("container %s: %w", name, err)
		}
	}
	return errors.Join(checkpoint.WritePod(dir, pod), ctx.Err())
}

func (e *Engine) saveInPod(ctx context.Context, c *container, dir string) (err error) {
	work, err := checkpointDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := e.save(ctx, c, work); err != nil {
		return err
	}
	return writeArchive(filepath.Join(dir, c.id+".tar"), work)
}

func emptyDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return errorf(ErrInvalid, "%q is not an absolute path", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return as(ErrInvalid, err)
	}
	if len(entries) > 0 {
		return errorf(ErrInvalid, "directory %s is not empty", dir)
	}
	return nil
}

func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// CheckpointedContainers are the archives in the checkpoint of an instance, by the
// names of their containers.
func (e *Engine) CheckpointedContainers(dir string) (map[string]string, error) {
	if !filepath.IsAbs(dir) {
		return nil, errorf(ErrInvalid, "%q is not an absolute path", dir)
	}
	if _, err := e.cfg.ImageDirs.Find(filepath.Join(dir, checkpoint.PodFile)); errors.Is(err, image.ErrDenied) {
		return nil, as(ErrDenied, fmt.Errorf("checkpoint %s: %w", dir, err))
	}
	pod, err := checkpoint.ReadPod(dir)
	if err != nil {
		return nil, as(ErrInvalid, fmt.Errorf("checkpoint %s: %w", dir, err))
	}
	return pod.Containers, nil
}
