package node

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
)

func TestPodsCanBeStoppedAndRemovedOnAFullDisk(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	must(t, os.Mkdir(n.cfg.StateDir, 0o711))
	must(t, syscall.Mount("tmpfs", n.cfg.StateDir, "tmpfs", 0, "size=512k"))
	t.Cleanup(func() { must(t, syscall.Unmount(n.cfg.StateDir, syscall.MNT_DETACH)) })
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", false))
	must(t, err)
	var made []runtime.Container
	for _, name := range []string{"a", "b"} {
		c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper(name))
		must(t, err)
		must(t, e.StartContainer(t.Context(), c.ID))
		made = append(made, c)
	}
	err = os.WriteFile(filepath.Join(n.cfg.StateDir, "full"), make([]byte, 1<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v, want ENOSPC", err)
	}

	must(t, e.StopContainer(t.Context(), made[0].ID, 10*time.Second, runtime.StopOptions{}))
	must(t, e.RemoveContainer(t.Context(), made[0].ID))
	must(t, e.StopInstance(t.Context(), i.ID))
	must(t, e.RemoveInstance(t.Context(), i.ID))
	if list := e.Instances(); len(list) != 0 {
		t.Errorf("Instances() = %v, want none", list)
	}
}

// What can't be read must keep neither the agent from starting nor the pods
// beside it from going on.
func TestDamagedRecordsDoNotKeepTheEngineFromOpening(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	good, err := e.RunInstance(t.Context(), pod("good", true))
	must(t, err)
	bad, err := e.RunInstance(t.Context(), pod("bad", true))
	must(t, err)
	must(t, e.Close())
	instances := filepath.Join(n.cfg.StateDir, "instances")
	must(t, os.Truncate(filepath.Join(instances, bad.ID, "instance.json"), 20))
	stray := filepath.Join(instances, "stray")
	must(t, os.WriteFile(stray, []byte("{}"), 0o600))
	must(t, os.WriteFile(filepath.Join(instances, good.ID, "containers"), nil, 0o600))

	e = n.open(t)

	if got, err := e.Instance(good.ID); err != nil || got.State != runtime.InstanceReady {
		t.Errorf("Instance() = %+v, %v, want it ready", got, err)
	}
	if running(bad.SupervisorPID) {
		t.Error("an instance that nobody knows goes on")
	}
	must(t, os.Remove(stray))
}

func TestOthersHaveNoWayToWritableLayers(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	for _, root := range []string{n.cfg.StateDir, n.cfg.RunDir} {
		must(t, os.MkdirAll(filepath.Join(root, "instances"), 0o755)) // as an older agent made it
	}
	n.open(t)
	for _, root := range []string{n.cfg.StateDir, n.cfg.RunDir} {
		info, err := os.Stat(filepath.Join(root, "instances"))
		must(t, err)
		if mode := info.Mode().Perm(); mode != 0o700 {
			t.Errorf("mode of %s/instances is %v, want 0700", root, mode)
		}
	}
}

func TestContainerStartsInACgroupThatACrashLeft(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	_, err = n.cfg.Cgroups.Load(i.Cgroup).Sub(c.ID, nil)
	must(t, err)

	must(t, e.StartContainer(t.Context(), c.ID))
}
