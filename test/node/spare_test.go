package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
)

// spareOf waits for the stage that waits for a container of the instance.
func spareOf(tb testing.TB, i runtime.Instance) (pid int) {
	tb.Helper()
	await(tb, "a stage waits", func() bool {
		for _, child := range children(tb, i.SupervisorPID) {
			text, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err == nil && string(text) == "siflet-stage\x00wait\x00" {
				pid, err = strconv.Atoi(child)
				must(tb, err)
				return true
			}
		}
		return false
	})
	return pid
}

func TestStartsTakeTheStageThatWaits(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	volume := t.TempDir()
	created := func(name string) (id string, spare int) {
		t.Helper()
		spec := n.sleeper(name)
		spec.Mounts = []runtime.Mount{{Source: volume, Target: "/srv"}}
		c, err := e.CreateContainer(t.Context(), i.ID, spec)
		must(t, err)
		return c.ID, spareOf(t, i)
	}
	start := func(id string) runtime.Container {
		t.Helper()
		must(t, e.StartContainer(t.Context(), id))
		c, err := e.Container(id)
		must(t, err)
		return c
	}

	id, spare := created("main")
	// What is mounted between the two calls is there.
	must(t, syscall.Mount("tmpfs", volume, "tmpfs", 0, ""))
	defer func() { must(t, syscall.Unmount(volume, syscall.MNT_DETACH)) }()
	must(t, os.WriteFile(filepath.Join(volume, "late"), nil, 0o600))
	if c := start(id); c.PID != spare {
		t.Errorf("the container's process is %d, want %d, the stage that waited", c.PID, spare)
	}
	if got, want := slack(t, spare), slack(t, os.Getpid()); got != want {
		t.Errorf("timer slack of the container's process %s, want %s", got, want)
	}
	_, _, exit, err := e.ExecSync(t.Context(), id, runtime.ExecSpec{Args: []string{"test", "-e", "/srv/late"}}, 1<<10)
	if err != nil || exit.Code != 0 {
		t.Errorf("a mount of after the creation: %+v, %v, want it in the container", exit, err)
	}

	id, spare = created("killed")
	must(t, syscall.Kill(spare, syscall.SIGKILL))
	await(t, "the stage is gone", func() bool { return !alive(spare) })
	if c := start(id); c.PID == spare {
		t.Errorf("the container's process is %d, which was killed", c.PID)
	}

	id, spare = created("removed")
	must(t, e.RemoveContainer(t.Context(), id))
	await(t, "the stage is gone", func() bool { return !alive(spare) })
	for _, group := range left(t, i.Cgroup+"/"+id) {
		t.Errorf("%s is left", group)
	}

	_, spare = created("never started")
	must(t, e.RemoveInstance(t.Context(), i.ID))
	await(t, "the stage is gone", func() bool { return !alive(spare) })
	for _, group := range left(t, i.Cgroup) {
		t.Errorf("%s is left", group)
	}
}

// The stage of a pod's first container comes up with the pod.
func TestStageOfTheFirstContainerWaitsFromTheBeginning(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	began := time.Now()
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	spare := spareOf(t, i)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	c, err = e.Container(c.ID)
	must(t, err)
	const waits = 8 * time.Second // at least
	if c.PID != spare && time.Since(began) < waits {
		t.Errorf("the container's process is %d, want %d, the stage that waited", c.PID, spare)
	}

	i, err = e.RunInstance(t.Context(), pod("empty", true))
	must(t, err)
	spare = spareOf(t, i)
	must(t, e.RemoveInstance(t.Context(), i.ID))
	await(t, "the stage is gone", func() bool { return !alive(spare) })
	for _, group := range left(t, i.Cgroup) {
		t.Errorf("%s is left", group)
	}
}

// slack is how late the kernel may wake a thread.
func slack(tb testing.TB, thread int) string {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", thread))
	must(tb, err)
	return strings.TrimSpace(string(text))
}

// Of a supervisor's threads the runtime's monitor may be woken late, and what that starts,
// but not the one that does everything.
func TestMonitorOfASupervisorIsCalm(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", i.SupervisorPID))
	must(t, err)
	late := 0
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		must(t, err)
		switch usual := slack(t, id) == slack(t, os.Getpid()); {
		case usual:
		case id == i.SupervisorPID:
			t.Errorf("timer slack of the main thread is %s", slack(t, id))
		default:
			late++
		}
	}
	if late == 0 {
		t.Errorf("none of %d threads may be woken late", len(threads))
	}
}

// left are the directories of a cgroup, in whatever hierarchy.
func left(tb testing.TB, group string) []string {
	tb.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup" + group)
	must(tb, err)
	more, err := filepath.Glob("/sys/fs/cgroup/*" + group)
	must(tb, err)
	return append(found, more...)
}

// A stage waits in a group of its container's, beside one of a former engine's start.
func TestStartAfterACrashBesideAStageThatWaits(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	spare := spareOf(t, i)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", spare))
	must(t, err)
	if n.cfg.Cgroups.Version() == 1 && strings.Contains(string(text), "\n0::/") && !strings.Contains(string(text), c.ID) {
		t.Errorf("the stage is in %s, want it in the v2 group of its container", text)
	}
	_, err = n.cfg.Cgroups.Load(i.Cgroup).Sub(c.ID, nil)
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
}
