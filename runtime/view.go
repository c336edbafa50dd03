package runtime

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/siflet/siflet/runtime/checkpoint"
)

// view is what is known of the instances below one pair of roots, and what can
// be done with them without writing there. Engine and Reader share it.
type view struct {
	cfg     Config
	filters filterCache
	criu    checkpoint.Criu
	walks   walks

	mu         sync.Mutex
	instances  map[string]*instance
	containers map[string]*container
	names      map[string]string // of instances
}

func (v *view) init(cfg Config) {
	v.cfg = cfg
	v.criu.Program = cfg.Criu
	v.instances = map[string]*instance{}
	v.containers = map[string]*container{}
	v.names = map[string]string{}
}

func (v *view) all() []*instance {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]*instance, 0, len(v.instances))
	for _, i := range v.instances {
		out = append(out, i)
	}
	return out
}

func (v *view) instance(id string) (*instance, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.instances[id]; i != nil {
		return i, nil
	}
	return nil, errorf(ErrNotFound, "instance %s not found", id)
}

func (v *view) container(id string) (*container, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.containers[id]; c != nil {
		return c, nil
	}
	return nil, errorf(ErrNotFound, "container %s not found", id)
}

// add makes a loaded or new instance known.
func (v *view) add(i *instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.instances[i.id] = i
	if i.rec.Spec.Name != "" {
		v.names[i.rec.Spec.Name] = i.id
	}
	maps.Copy(v.containers, i.containers)
}

// drop forgets an instance and its containers.
func (v *view) drop(i *instance) {
	i.mu.Lock()
	i.gone = true
	list := i.listLocked()
	for _, c := range list {
		c.gone = true
	}
	i.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.instances, i.id)
	if v.names[i.rec.Spec.Name] == i.id {
		delete(v.names, i.rec.Spec.Name)
	}
	for _, c := range list {
		delete(v.containers, c.id)
	}
}

// Instance returns one instance by its ID.
func (v *view) Instance(id string) (Instance, error) {
	i, err := v.instance(id)
	if err != nil {
		return Instance{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.snapshotLocked(), nil
}

// InstanceByName returns the instance of that name.
func (v *view) InstanceByName(name string) (Instance, error) {
	v.mu.Lock()
	id, ok := v.names[name]
	v.mu.Unlock()
	if !ok {
		return Instance{}, errorf(ErrNotFound, "no instance found with name %s", name)
	}
	return v.Instance(id)
}

// Instances lists the instances, the newest first. One that is still being
// made is not among them.
func (v *view) Instances() []Instance {
	list := v.all()
	out := make([]Instance, 0, len(list))
	for _, i := range list {
		i.mu.Lock()
		if i.claim == nil || i.claim.what != claimStart {
			out = append(out, i.snapshotLocked())
		}
		i.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Instance) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Container returns one container by its ID.
func (v *view) Container(id string) (Container, error) {
	c, err := v.container(id)
	if err != nil {
		return Container{}, err
	}
	c.inst.mu.Lock()
	defer c.inst.mu.Unlock()
	return c.snapshotLocked(), nil
}

// Containers lists the containers of all instances, the newest first.
func (v *view) Containers() []Container {
	var out []Container
	for _, i := range v.all() {
		i.mu.Lock()
		for _, c := range i.containers {
			if c.claim == nil || c.claim.what != claimCreate {
				out = append(out, c.snapshotLocked())
			}
		}
		i.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Container) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// What claims are for.
const (
	claimStart  = "start"
	claimStop   = "stop"
	claimCreate = "create"
	claimRemove = "remove"
	claimUpdate = "update"
)
