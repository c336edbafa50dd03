package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestCreateNeedsParent(t *testing.T) {
	m, parent := testParent(t)
	_, err := m.Create(parent+"/none", "web", nil)
	if !errors.Is(err, ErrNoParent) || !strings.Contains(err.Error(), parent+"/none") {
		t.Errorf("Create() = %v, want ErrNoParent naming the parent", err)
	}
	for _, h := range m.tree {
		if exists(h.mount + parent + "/none") {
			t.Errorf("Create() left %s", h.mount+parent+"/none")
		}
	}
}

func TestCreateRefusesExisting(t *testing.T) {
	m, parent := testParent(t)
	first, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create(parent, "web", nil); !errors.Is(err, ErrExists) {
		t.Errorf("second Create() = %v, want ErrExists", err)
	}
	for _, h := range m.tree {
		if !exists(h.mount + first.path) {
			t.Errorf("second Create() removed %s", h.mount+first.path)
		}
	}
}

func TestCreateLeavesNothingWhenALimitIsRefused(t *testing.T) {
	m, parent := testParent(t)
	_, err := m.Create(parent, "web", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))},
		CPU:    &specs.LinuxCPU{Cpus: "4095"},
	})
	if err == nil {
		t.Fatal("Create() with a CPU that is not there succeeded")
	}
	for _, h := range m.tree {
		if exists(h.mount + parent + "/web") {
			t.Errorf("%s is left", h.mount+parent+"/web")
		}
	}
}

func TestCreateMakesParentWhereOnlySomeHierarchiesHaveIt(t *testing.T) {
	m, parent := testParent(t)
	if m.Version() == 2 {
		t.Skip("v2 has one hierarchy")
	}
	foreign := parent + "/pod"
	if err := os.Mkdir(m.primary().mount+foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	g, err := m.Create(foreign, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g.Handle(), "wait")
	if pids, err := g.Procs(); err != nil || len(pids) != 1 {
		t.Errorf("Procs() = %v, %v, want one", pids, err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range m.tree {
		if h := &m.tree[i]; h.auxiliary(1) && exists(h.mount+foreign) {
			t.Errorf("Delete() left %s, which only we made", h.mount+foreign)
		}
	}
}

func TestPathsAreChecked(t *testing.T) {
	m, parent := testParent(t)
	for _, bad := range []string{"..", "a/../../b", "/a/./b", "a\nb", "a\x00b", strings.Repeat("x", 256)} {
		if err := m.EnsureParent(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("EnsureParent(%.20q) = %v, want ErrInvalid", bad, err)
		}
		if err := m.Load(bad).Delete(t.Context()); !errors.Is(err, ErrInvalid) {
			t.Errorf("Load(%.20q).Delete() = %v, want ErrInvalid", bad, err)
		}
		if h := m.Load(bad).Handle(); h.Join != nil {
			t.Errorf("Load(%.20q).Handle() = %v, want none", bad, h)
		}
		if _, err := m.Create(parent, bad, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("Create(%.20q) = %v, want ErrInvalid", bad, err)
		}
	}
	for _, same := range []string{"siflet/web", "/siflet/web", "//siflet//web/"} {
		if got := m.Load(same).Path(); got != "/siflet/web" {
			t.Errorf("Load(%q).Path() = %q", same, got)
		}
	}
}

func TestRootGroupIsNeverTouched(t *testing.T) {
	m, _ := testParent(t)
	root := m.Load("/")
	for name, do := range map[string]func(context.Context) error{
		"Kill": root.Kill, "Freeze": root.Freeze, "Thaw": root.Thaw, "Delete": root.Delete,
	} {
		if err := do(t.Context()); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s() of the root = %v, want ErrInvalid", name, err)
		}
	}
}

func TestInstanceLayoutHoldsSupervisorAndContainers(t *testing.T) {
	m, parent := testParent(t)
	instance, err := m.Create(parent, "siflet-web", nil)
	if err != nil {
		t.Fatal(err)
	}
	supervisor, err := instance.Supervisor()
	if err != nil {
		t.Fatal(err)
	}
	sp := start(t, supervisor, "wait")
	container, err := instance.Sub("app", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(50))}})
	if err != nil {
		t.Fatal(err)
	}
	cp := start(t, container.Handle(), "wait")

	all, err := instance.Procs()
	want := []int{sp.Process.Pid, cp.Process.Pid}
	slices.Sort(want)
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("instance Procs() = %v, %v, want %v", all, err, want)
	}
	if own, err := container.Procs(); err != nil || !slices.Equal(own, []int{cp.Process.Pid}) {
		t.Errorf("container Procs() = %v, %v, want [%d]", own, err, cp.Process.Pid)
	}
	listed, err := os.ReadFile(supervisor.Procs)
	if err != nil || !strings.Contains(string(listed), "\n") {
		t.Errorf("Handle.Procs lists %q, %v", listed, err)
	}
	if got := path.Base(path.Dir(supervisor.Procs)); got != pick(m, "siflet-web", "init") {
		t.Errorf("the supervisor is in %q", got)
	}
	if _, err := instance.Sub("init", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("Sub(init) = %v, want ErrInvalid", err)
	}
	// A second container, with the supervisor running.
	if _, err := instance.Sub("app2", nil); err != nil {
		t.Error(err)
	}
}

func TestParentWithProcessesIsNamed(t *testing.T) {
	m, parent := testParent(t)
	if m.Version() == 1 {
		t.Skip("v1 groups may have both members and children")
	}
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g.Handle(), "wait")
	_, err = g.Sub("app", nil)
	if err == nil || !strings.Contains(err.Error(), g.Path()+", which has processes of its own") {
		t.Errorf("Sub() in a group with members = %v, want it named", err)
	}
	if exists(m.tree[0].mount + g.path + "/app") {
		t.Error("Sub() left its group")
	}
}

func TestDeleteWaitsForMembersToExit(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, g.Handle(), "wait")
	done := make(chan error)
	go func() { done <- g.Delete(t.Context()) }()
	_ = p.stdin.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := g.Delete(t.Context()); err != nil {
		t.Errorf("Delete() of what is gone = %v", err)
	}
}

func TestDeleteNamesWhoIsLeft(t *testing.T) {
	m, parent := testParent(t)
	g, err := m.Create(parent, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g.Handle(), "wait")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Delete(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete() with a member = %v, want the deadline", err)
	}
}

func TestGoneGroupSaysSo(t *testing.T) {
	m, parent := testParent(t)
	g := m.Load(parent + "/never")
	if _, err := g.Stats(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stats() = %v, want ErrNotExist", err)
	}
	if _, err := g.OOMKills(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OOMKills() = %v, want ErrNotExist", err)
	}
	update := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(5))}}
	if err := g.Update(update); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Update() = %v, want ErrNotExist", err)
	}
	if pids, err := g.Procs(); err != nil || len(pids) > 0 {
		t.Errorf("Procs() = %v, %v, want none", pids, err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Errorf("Kill() = %v, want nil", err)
	}
}
