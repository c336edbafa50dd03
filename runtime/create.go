package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
)

// CreateContainer makes a container in a ready instance. Nothing runs and
// nothing is mounted: every error that can be known before is returned now. A
// name that is in use is ErrExists, with the exception of RunInstance.
func (e *Engine) CreateContainer(ctx context.Context, instanceID string, spec ContainerSpec) (Container, error) {
	i, err := e.instance(instanceID)
	if err != nil {
		return Container{}, fmt.Errorf("create container: %w", err)
	}
	c, held, err := e.reserveContainer(ctx, i, spec)
	if err != nil {
		return Container{}, fmt.Errorf("create container: %w", err)
	}
	select {
	case <-held.done:
	case <-ctx.Done():
		return Container{}, fmt.Errorf("create container %s: %w", spec.Name, ctx.Err())
	}
	if held.err != nil {
		return Container{}, fmt.Errorf("create container: %w", held.err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.unheard = c.unheard && unheard(ctx)
	return c.snapshotLocked(), nil
}

// reserveContainer takes the name in the instance, so that nobody else does,
// and begins to make the container, which goes on when the caller leaves.
func (e *Engine) reserveContainer(ctx context.Context, i *instance, spec ContainerSpec) (*container, *claim, error) {
	i.mu.Lock()
	for _, c := range i.containers {
		if spec.Name == "" || c.rec.Spec.Name != spec.Name || c.rec.Spec.Metadata.Attempt != spec.Metadata.Attempt {
			continue
		}
		held := c.claim
		same := c.unheard && sameJSON(c.rec.Spec, spec)
		created := c.stateLocked() == ContainerCreated
		i.mu.Unlock()
		switch {
		case same && held != nil && held.what == claimCreate:
			return c, held, nil
		case same && held == nil && created:
			return c, settled(), nil
		}
		return nil, nil, errorf(ErrExists, "container %s already exists", spec.Name)
	}
	if i.gone || i.claim != nil && i.claim.what != claimUpdate || instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) != InstanceReady {
		i.mu.Unlock()
		return nil, nil, errorf(ErrNotReady, "instance %s is not running", i.id)
	}
	id, readied := i.takeFirstLocked()
	c := &container{
		id: id, inst: i, dir: filepath.Join(i.dir, "containers", id), readied: readied,
		done: make(chan struct{}), claim: newClaim(claimCreate), unheard: true,
		rec: containerRecord{
			Version: recordVersion, ID: id, InstanceID: i.id, Spec: spec,
			CreatedAt: following(time.Now(), i.attemptsLocked(spec.Metadata)),
			Resources: spec.Resources,
		},
	}
	i.containers[id] = c
	i.unheard = false // the caller knows of it
	held := c.claim
	i.mu.Unlock()
	e.mu.Lock()
	e.containers[id] = c
	e.mu.Unlock()
	e.background(func() {
		ctx, cancel := detached(ctx)
		defer cancel()
		e.create(ctx, c, held)
	})
	return c, held, nil
}

// create records the container, or leaves nothing of it, and settles the claim.
func (e *Engine) create(ctx context.Context, c *container, held *claim) {
	e.readyStage(ctx, c)
	err := e.prepare(ctx, c)
	if err != nil {
		err = errors.Join(c.overtaken(classify(err)), c.dismissStage(ctx), e.forget(ctx, c))
		e.informContainer(ctx, StepRemoved, c)
		c.settle(held, err)
		return
	}
	// Who hears of it finds it in the lists, and nobody starts it before.
	c.inst.mu.Lock()
	c.claim = nil
	e.tellLocked(EventCreated, c.inst, c.id)
	c.inst.mu.Unlock()
	e.informContainer(ctx, StepCreated, c)
	close(held.done)
}

// prepare does all that a start will need to have been done.
func (e *Engine) prepare(ctx context.Context, c *container) error {
	rec := c.rec // the claim keeps others from changing it
	e.mendInstance(c.inst)
	var err error
	if rec.Spec.Checkpoint != "" {
		err = e.restoreArchive(ctx, c, &rec)
	} else if err = e.createPhase(ctx, c, "image", func() (err error) {
		rec.Image, err = e.resolve(ctx, rec.Spec.Image)
		return err
	}); err == nil && rec.Image.bare() {
		err = e.restoreImage(ctx, c, &rec)
	}
	if err != nil {
		return err
	}
	image := &rec.Image
	if rec.Images, err = e.resolveMounts(ctx, rec.Spec.Mounts); err != nil {
		return err
	}
	if rec.CDI, err = namedDevices(e.cfg.CDIDirs, rec.Spec.CDI); err != nil {
		return err
	}
	if err := e.createPhase(ctx, c, "trust", func() error { return errors.Join(e.mountable(&rec), e.permitAll(ctx, c, &rec)) }); err != nil {
		return err
	}
	if rec.StopSignal, err = stopSignal(rec.Spec.StopSignal, image.StopSignal); err != nil {
		return err
	}
	if rec.LogPath, err = e.openLog(c.inst, &rec.Spec); err != nil {
		return err
	}
	if err := checkSources(rec.Spec.Mounts); err != nil {
		return err
	}
	if rec.Spec.Upper == UpperDisk && !rec.Spec.Security.ReadonlyRoot {
		rec.Upper = filepath.Join(c.dir, "upper")
	}
	if rec.Upper == "" && len(image.Volumes) > 0 {
		rec.Volumes = filepath.Join(c.dir, "volume-")
	}
	if err := errors.Join(e.labelContainer(c, &rec), checkRelabels(&rec)); err != nil {
		return err
	}
	if err := e.consult(ctx, c, &rec); err != nil {
		return err
	}
	var planned *planned
	err = e.createPhase(ctx, c, "plan", func() (err error) {
		planned, err = e.plan(c, &rec)
		return err
	})
	if err != nil {
		return err
	}
	if err := e.cfg.Cgroups.Load(c.inst.rec.Cgroup).CheckSub(planned.resources); err != nil {
		return err
	}
	if err := noHooksInside(planned.spec.Hooks, &c.inst.rec.Spec.Namespaces); err != nil {
		return err
	}
	rec.Hooks = planned.spec.Hooks
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil && (rec.Restore == nil || !errors.Is(err, fs.ErrExist)) {
		return err
	}
	if err := c.keepApart(&rec); err != nil {
		return err
	}
	c.inst.mu.Lock()
	c.rec, c.planned = rec, planned
	c.inst.mu.Unlock()
	if err := record.WriteVolatile(c.recordPath(), rec); err != nil {
		return err
	}
	return e.pin(c)
}

// openLog makes the directory of a CRI log and sees that it can be written.
func (e *Engine) openLog(i *instance, spec *ContainerSpec) (string, error) {
	path := spec.LogPath
	if path == "" {
		return "", nil
	}
	if !filepath.IsAbs(path) {
		if i.rec.Spec.LogDir == "" {
			return "", nil
		}
		path = filepath.Join(i.rec.Spec.LogDir, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", askedFor(fmt.Errorf("log directory: %w", err))
	}
	// The file itself is the supervisor's to make.
	err := linux.Writable(filepath.Dir(path))
	if err == nil {
		info, serr := os.Stat(path)
		switch {
		case serr == nil && info.IsDir():
			err = fmt.Errorf("%s is a directory", path)
		case serr != nil && !errors.Is(serr, fs.ErrNotExist):
			err = serr
		}
	}
	if err != nil {
		return "", askedFor(fmt.Errorf("log: %w", err))
	}
	return path, nil
}
