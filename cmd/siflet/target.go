package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime"
)

// view is read access to the instances of one owner.
type view struct {
	*runtime.Reader
	pods bool // the node agent's
}

// views are the caller's instances and, when asked, the node agent's pods. An
// owner who never ran anything has none.
func (w *workshop) views(ctx context.Context, pods bool) ([]view, error) {
	r, err := callerRoots()
	if err != nil {
		return nil, err
	}
	all := []struct {
		roots
		pods bool
	}{{roots: r}}
	if pods {
		all = append(all, struct {
			roots
			pods bool
		}{w.agent, true})
	}
	var views []view
	for _, one := range all {
		if dir, err := os.Open(filepath.Join(one.state, "instances")); err != nil {
			continue // nobody's, or the node agent's and so root's to see
		} else if err := dir.Close(); err != nil {
			return nil, err
		}
		reader, err := w.reader(ctx, one.roots)
		if err != nil {
			return nil, err
		}
		views = append(views, view{Reader: reader, pods: one.pods})
	}
	return views, nil
}

// target is a running container that a command addresses.
type target struct {
	view      view
	instance  runtime.Instance
	container runtime.Container
}

// target finds what NAME, POD or either with /CONTAINER means: an instance of
// the caller first, then a pod by name, namespace/name or the start of its ID.
func (w *workshop) target(ctx context.Context, name string) (target, error) {
	name = strings.TrimPrefix(name, "instance://")
	views, err := w.views(ctx, true)
	if err != nil {
		return target{}, err
	}
	missing := missingError{text: "no instance found with name " + name}
	for _, v := range views {
		var found []target
		for _, i := range v.Instances() {
			if i.Mute && i.Spec.Name == name {
				return target{}, fmt.Errorf("instance %s: its supervisor does not answer, and it may run; to kill it: siflet instance stop %[1]s", name)
			}
			if i.State != runtime.InstanceReady {
				if i.Spec.Name == name && !i.Spec.Pod && thisBoot(i) {
					missing.text += fmt.Sprintf(": it has %s; start it again, or see why it ended: siflet instance logs %s",
						statusOf(i, only(v.Containers(), i.ID)), name)
				}
				continue
			}
			if rest, ok := addressed(i, name); ok {
				container, err := pick(v, i, rest)
				if err != nil {
					return target{}, err
				}
				found = append(found, target{view: v, instance: i, container: container})
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return target{}, fmt.Errorf("%s means %d pods; use NAMESPACE/NAME or an ID: siflet instance list --pods", name, len(found))
		}
	}
	return target{}, missing
}

// addressed says whether name means instance i, and which container of it.
func addressed(i runtime.Instance, name string) (container string, ok bool) {
	names := []string{i.Spec.Name}
	if i.Spec.Pod {
		meta := i.Spec.Metadata
		names = []string{meta.Namespace + "/" + meta.Name, meta.Name, i.ID}
	}
	for _, known := range names {
		if name == known {
			return "", true
		}
		if rest, found := strings.CutPrefix(name, known+"/"); found && known != "" && !strings.Contains(rest, "/") {
			return rest, true
		}
	}
	first, rest, _ := strings.Cut(name, "/")
	if i.Spec.Pod && len(first) >= 6 && strings.HasPrefix(i.ID, first) {
		return rest, true
	}
	return "", false
}

// pick chooses the container of an instance: the one named, or the only one, of a pod's
// the only one that runs.
func pick(v view, i runtime.Instance, name string) (runtime.Container, error) {
	var found []runtime.Container
	var last runtime.Container
	var names []string
	for _, c := range v.Containers() {
		if c.InstanceID != i.ID {
			continue
		}
		if len(names) == 0 {
			last = c
		}
		if !slices.Contains(names, c.Spec.Name) {
			names = append(names, c.Spec.Name)
		}
		if name == "" && (c.State == runtime.ContainerRunning || !i.Spec.Pod) || name == c.Spec.Name {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1 || name != "" && len(found) > 1:
		return found[0], nil // of its attempts the newest
	case len(names) == 0:
		return runtime.Container{}, errors.New("nothing runs in it")
	case len(found) == 0 && name == "" && len(names) == 1:
		return last, nil
	case len(found) == 0 && name != "":
		return runtime.Container{}, fmt.Errorf("no container %q; there are: %s", name, strings.Join(names, ", "))
	default:
		return runtime.Container{}, fmt.Errorf("several containers; say which, instance://%s/CONTAINER: %s", i.Spec.Metadata.Name, strings.Join(names, ", "))
	}
}
