package node

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime"
)

// hierarchyOf is where memory is limited: the directory of a hierarchy, and the
// file with the limit.
func hierarchyOf(groups *cgroups.Manager) (mount, limit string) {
	if groups.Version() == 2 {
		return "/sys/fs/cgroup", "memory.max"
	}
	return "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
}

// start starts a container in a pod of its own.
func (n *testNode) start(t *testing.T, e *runtime.Engine, spec runtime.ContainerSpec) runtime.Container {
	t.Helper()
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, spec)
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	c, err = e.Container(c.ID)
	must(t, err)
	return c
}

// output runs a command in a container and returns what it says.
func output(t *testing.T, e *runtime.Engine, id string, command ...string) string {
	t.Helper()
	out, errs, exit, err := e.ExecSync(t.Context(), id, runtime.ExecSpec{Args: command}, 1<<20)
	if err != nil {
		t.Fatalf("exec %q: %v", command, err)
	}
	if exit.Code != 0 {
		return "exit " + strconv.Itoa(exit.Code) + ": " + string(out) + string(errs)
	}
	return string(out)
}

func TestContainersLiveInCgroupsOfTheirOwn(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	mount, limitFile := hierarchyOf(n.cfg.Cgroups)
	e := n.open(t)
	const limit = int64(64 << 20)
	memory := limit
	spec := n.sleeper("main")
	spec.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}}
	c := n.start(t, e, spec)
	i, err := e.Instance(c.InstanceID)
	must(t, err)

	group := n.cfg.CgroupParent + "/siflet-" + i.ID
	place := group + "/" + c.ID
	if n.cfg.Cgroups.Version() == 2 {
		group += "/init" // a group with limits for its children can't have members
	}
	for what, pid := range map[string]int{place: c.PID, group: i.SupervisorPID} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		if err != nil || !strings.Contains(string(text), ":"+what) {
			t.Errorf("process %d is in %q, %v, want it in %s", pid, text, err, what)
		}
	}
	if text, err := os.ReadFile(filepath.Join(mount, place, limitFile)); err != nil ||
		strings.TrimSpace(string(text)) != strconv.FormatInt(limit, 10) {
		t.Errorf("limit is %q, %v, want %d", text, err, limit)
	}
	if n.cfg.Cgroups.Version() == 2 {
		place = "/" // containers of v2 have a cgroup namespace, as other engines give them
	}
	for line := range strings.Lines(output(t, e, c.ID, "cat", "/proc/self/cgroup")) {
		if !strings.HasSuffix(line, ":"+place+"\n") {
			t.Errorf("an exec sees itself in %q, want %s", line, place)
		}
	}
	inside := "/sys/fs/cgroup" + strings.TrimPrefix(mount, "/sys/fs/cgroup") + "/" + limitFile
	if got := strings.TrimSpace(output(t, e, c.ID, "cat", inside)); got != strconv.FormatInt(limit, 10) {
		t.Errorf("the container reads the limit %q, want %d", got, limit)
	}
	if got := output(t, e, c.ID, "sh", "-c", "echo 1 > "+inside); !strings.Contains(got, "Read-only") {
		t.Errorf("the container writes its limit: %q", got)
	}
}

func TestDevicesNotGivenCannotBeOpened(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	c := n.start(t, e, n.sleeper("main"))
	if got := output(t, e, c.ID, "head", "-c", "1", "/dev/zero"); got != "\x00" {
		t.Errorf("/dev/zero reads %q, want a zero byte", got)
	}
	// The default capabilities include CAP_MKNOD: the node can be made.
	got := output(t, e, c.ID, "sh", "-c", "mknod /dev/memory c 1 1 && head -c 1 /dev/memory")
	if !strings.Contains(got, "Operation not permitted") {
		t.Errorf("/dev/mem by another name: %q, want it not permitted", got)
	}
}

func TestEverythingInAContainersCgroupIsKilled(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	script := "trap '' TERM; for n in 1 2 3; do setsid sleep 1000 & done; wait"
	c := n.start(t, e, n.container("main", "sh", "-c", script))
	eventually(t, "processes", func() bool {
		return strings.Count(output(t, e, c.ID, "ps"), "sleep 1000") >= 3
	})
	must(t, e.StopContainer(t.Context(), c.ID, 50*time.Millisecond, runtime.StopOptions{}))
	must(t, e.RemoveInstance(t.Context(), c.InstanceID))
	mount, _ := hierarchyOf(n.cfg.Cgroups)
	if left, err := os.ReadDir(filepath.Join(mount, n.cfg.CgroupParent)); err == nil {
		for _, entry := range left {
			if entry.IsDir() {
				t.Errorf("cgroup %s is left", entry.Name())
			}
		}
	}
}
