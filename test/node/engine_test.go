package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/test/siftest"
)

const isolatedEnv = "SIFLET_TEST_ISOLATED"

// isolated runs the calling test in mount and network namespaces of its own,
// by running the test binary again. It reports whether this is that run.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolatedEnv) == t.Name() {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	args := []string{"-test.run=^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.timeout=5m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if testing.Verbose() || err != nil {
		t.Log(string(out))
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("skipped when isolated")
	}
	return false
}

// node is a machine to run an engine on: roots, binaries, network and cgroups
// that nothing else uses.
type testNode struct {
	dir   string
	cfg   runtime.Config
	store *image.Store
	image string
}

func binaries(tb testing.TB) string {
	tb.Helper()
	if dir := os.Getenv(binEnv); dir != "" {
		return dir
	}
	dir := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", dir+"/", "../../cmd/siflet-instance", "../../cmd/siflet-action")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

func newTestNode(tb testing.TB) *testNode {
	tb.Helper()
	must(tb, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""))
	bin := binaries(tb)
	n := &testNode{dir: tb.TempDir()}
	groups, err := cgroups.New(cgroups.Config{})
	must(tb, err)
	net, err := network.New(network.Config{
		CNIConfDir: n.dir + "/cni", StateDir: n.dir + "/netstate", PinDir: n.dir + "/netns", LeaseDir: n.dir + "/leases",
	})
	must(tb, err)
	tb.Cleanup(net.Close)
	must(tb, os.MkdirAll(n.dir+"/images", 0o755))
	n.store, err = image.Open(n.dir+"/images", image.Options{})
	must(tb, err)
	n.image = siftest.Build(tb, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{"srv/": ""}})
	n.cfg = runtime.Config{
		StateDir: n.dir + "/state", RunDir: n.dir + "/run",
		InstanceBinary: bin + "/siflet-instance", ActionBinary: bin + "/siflet-action",
		Images: n.store, Cgroups: groups, CgroupParent: "/siflet-test-" + strconv.Itoa(os.Getpid()) + "-" + tb.Name(),
		Network: net,
	}
	if os.Getenv("SIFLET_TEST_LOG") != "" {
		n.cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	tb.Cleanup(func() {
		_ = syscall.Unmount(n.dir+"/netns", syscall.MNT_DETACH)
		must(tb, groups.Load(n.cfg.CgroupParent).Delete(context.Background()))
		n.checkClean(tb)
	})
	return n
}

func (n *testNode) open(tb testing.TB) *runtime.Engine {
	tb.Helper()
	e, err := runtime.Open(tb.Context(), n.cfg)
	must(tb, err)
	tb.Cleanup(func() {
		for _, i := range e.Instances() {
			if err := e.RemoveInstance(context.Background(), i.ID); err != nil {
				tb.Error(err)
			}
		}
		must(tb, e.Close())
	})
	return e
}

// checkClean fails the test for anything an instance left.
func (n *testNode) checkClean(tb testing.TB) {
	tb.Helper()
	for _, dir := range []string{"state/instances", "run/instances", "netns"} {
		entries, err := os.ReadDir(filepath.Join(n.dir, dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Error(err)
		}
		for _, entry := range entries {
			tb.Errorf("%s/%s is left", dir, entry.Name())
		}
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(tb, err)
	for _, p := range procs {
		text, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(text), n.dir) {
			tb.Errorf("process %s is left: %q", p, text)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(tb, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, n.dir+"/netns/") || strings.Contains(line, n.dir+"/state") {
			tb.Errorf("mount is left: %s", line)
		}
	}
	if leases, err := filepath.Glob(n.dir + "/leases/*"); err == nil && slices.ContainsFunc(leases, func(l string) bool {
		return strings.Contains(filepath.Base(l), "10.213.0.") && !strings.HasSuffix(l, "10.213.0.1")
	}) {
		tb.Errorf("leases are left: %v", leases)
	}
}

func pod(name string, host bool) runtime.InstanceSpec {
	s := runtime.InstanceSpec{
		Name: name, Pod: true, Metadata: runtime.Metadata{Name: name, Namespace: "default", UID: name + "-uid"},
		Hostname: name, Namespaces: runtime.Namespaces{PID: runtime.ModeContainer}, BuiltInNetwork: true,
	}
	if host {
		s.Namespaces.Network = runtime.ModeHost
	}
	return s
}

func (n *testNode) sleeper(name string) runtime.ContainerSpec {
	return n.container(name, "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 1000 & wait $!; done")
}

func (n *testNode) container(name string, command ...string) runtime.ContainerSpec {
	return runtime.ContainerSpec{
		Name: name, Metadata: runtime.Metadata{Name: name}, Image: n.image, Command: command,
		LogPath: filepath.Join(n.dir, "logs", name+".log"),
	}
}

func TestEngineRunsAPodFromStartToRemoval(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	events := e.Subscribe(t.Context()).Events
	for _, host := range []bool{true, false} {
		for round := range 5 {
			start := time.Now()
			i, err := e.RunInstance(t.Context(), pod("web", host))
			must(t, err)
			ran := time.Now()
			c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
			must(t, err)
			created := time.Now()
			must(t, e.StartContainer(t.Context(), c.ID))
			started := time.Now()
			if got, err := e.Container(c.ID); err != nil || got.State != runtime.ContainerRunning || got.PID == 0 {
				t.Fatalf("Container() = %+v, %v, want it running", got, err)
			}
			if host != (len(i.Addresses) == 0) {
				t.Errorf("addresses %v with host network %v", i.Addresses, host)
			}
			out, _, exit, err := e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{Args: []string{"hostname"}}, 1<<20)
			if err != nil || exit.Code != 0 || strings.TrimSpace(string(out)) != "web" {
				t.Errorf("ExecSync(hostname) = %q, %+v, %v", out, exit, err)
			}
			execAt := time.Now()
			_, _, _, err = e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{Args: []string{"true"}}, 1<<20)
			must(t, err)
			execDone := time.Now()
			stats, err := e.InstanceStats(i.ID)
			if err != nil || len(stats.Containers) != 1 || stats.Containers[0].CPU.Usage == 0 {
				t.Errorf("InstanceStats() = %+v, %v", stats, err)
			}
			stop := time.Now()
			must(t, e.StopContainer(t.Context(), c.ID, 10*time.Second, runtime.StopOptions{}))
			stopped := time.Now()
			got, err := e.Container(c.ID)
			if err != nil || got.State != runtime.ContainerExited || got.ExitCode != 7 {
				t.Errorf("Container() = %+v, %v, want it exited with 7", got, err)
			}
			must(t, e.StopInstance(t.Context(), i.ID))
			down := time.Now()
			must(t, e.RemoveInstance(t.Context(), i.ID))
			removed := time.Now()
			t.Logf("host %v round %d: run %v create %v start %v = %v | exec %v | stop %v down %v remove %v", host, round,
				ran.Sub(start), created.Sub(ran), started.Sub(created), started.Sub(start), execDone.Sub(execAt),
				stopped.Sub(stop), down.Sub(stopped), removed.Sub(down))
			if list := e.Instances(); len(list) != 0 {
				t.Errorf("Instances() = %v, want none", list)
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(n.dir, "logs", "main.log"))
	if err != nil || !strings.Contains(string(log), " stdout F up\n") {
		t.Errorf("log = %q, %v", log, err)
	}
	var kinds []string
	for range 8 {
		ev := <-events
		kind := string(ev.Kind)
		if ev.ContainerID == ev.InstanceID {
			kind = "instance " + kind
		}
		kinds = append(kinds, kind)
	}
	want := []string{"instance created", "instance started", "created", "started", "stopped", "instance stopped", "deleted", "instance deleted"}
	if !slices.Equal(kinds, want) {
		t.Errorf("events %q, want %q", kinds, want)
	}
}

func TestEngineRunsSixteenPodsAtOnce(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	start := time.Now()
	var w sync.WaitGroup
	for k := range 16 {
		w.Go(func() {
			i, err := e.RunInstance(t.Context(), pod("pod-"+string(rune('a'+k)), false))
			if err != nil {
				t.Error(err)
				return
			}
			c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
			if err == nil {
				err = e.StartContainer(t.Context(), c.ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	w.Wait()
	t.Logf("16 pods in %v", time.Since(start))
	start = time.Now()
	for _, i := range e.Instances() {
		w.Go(func() {
			if err := e.RemoveInstance(t.Context(), i.ID); err != nil {
				t.Error(err)
			}
		})
	}
	w.Wait()
	t.Logf("removed in %v", time.Since(start))
}
