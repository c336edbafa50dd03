package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
)

const agentEnv = "SIFLET_TEST_AGENT"

// agentConfig is what the agent to be killed needs to know.
type agentConfig struct {
	Dir, Bin, Image, Parent string
}

// TestAgentToBeKilled is not a test by itself: it is the process that
// TestEngineTakesOverAfterKill kills.
func TestAgentToBeKilled(t *testing.T) {
	text := os.Getenv(agentEnv)
	if text == "" {
		t.Skip("runs as a part of another test")
	}
	var a agentConfig
	must(t, json.Unmarshal([]byte(text), &a))
	n := a.node(t)
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	say("ready")
	var w sync.WaitGroup
	for k := range 4 {
		w.Go(func() {
			for round := 0; ; round++ {
				n.life(t.Context(), e, fmt.Sprintf("%d-%d-%d", os.Getpid(), k, round), k == 0)
			}
		})
	}
	w.Wait()
}

func say(what any) { _, _ = fmt.Fprintln(os.Stdout, what) }

// life is a pod's, most of the time to its end.
func (n *testNode) life(ctx context.Context, e *runtime.Engine, name string, host bool) {
	i, err := e.RunInstance(ctx, pod(name, host))
	if err != nil {
		say(err)
		return
	}
	spec := n.container(name, "sh", "-c", "echo begin; echo end; exit 3")
	if rand.IntN(2) == 0 {
		spec = n.sleeper(name)
	}
	c, err := e.CreateContainer(ctx, i.ID, spec)
	if err == nil {
		err = e.StartContainer(ctx, c.ID)
	}
	if err == nil && rand.IntN(2) == 0 {
		_, _, _, _ = e.ExecSync(ctx, c.ID, runtime.ExecSpec{Args: []string{"true"}}, 100)
	}
	if err != nil {
		say(err)
	}
	if rand.IntN(3) == 0 {
		return // stays
	}
	if rand.IntN(2) == 0 {
		_ = e.StopContainer(ctx, c.ID, time.Second, runtime.StopOptions{})
		_ = e.RemoveContainer(ctx, c.ID)
	}
	if rand.IntN(2) == 0 {
		_ = e.StopInstance(ctx, i.ID)
	}
	if err := e.RemoveInstance(ctx, i.ID); err != nil {
		say(err)
	}
}

func (a agentConfig) node(tb testing.TB) *testNode {
	tb.Helper()
	n := &testNode{dir: a.Dir, image: a.Image}
	groups, err := cgroups.New(cgroups.Config{})
	must(tb, err)
	net, err := network.New(network.Config{
		CNIConfDir: n.dir + "/cni", StateDir: n.dir + "/netstate", PinDir: n.dir + "/netns", LeaseDir: n.dir + "/leases",
	})
	must(tb, err)
	n.store, err = image.Open(n.dir+"/images", image.Options{})
	must(tb, err)
	n.cfg = runtime.Config{
		StateDir: n.dir + "/state", RunDir: n.dir + "/run",
		InstanceBinary: a.Bin + "/siflet-instance", ActionBinary: a.Bin + "/siflet-action",
		Images: n.store, Cgroups: groups, CgroupParent: a.Parent, Network: net, LockWait: 10 * time.Second,
	}
	return n
}

func TestEngineTakesOverAfterKill(t *testing.T) {
	if !isolated(t) {
		return
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	n := newTestNode(t)
	a := agentConfig{Dir: n.dir, Bin: filepath.Dir(n.cfg.InstanceBinary), Image: n.image, Parent: n.cfg.CgroupParent}
	text, err := json.Marshal(a)
	must(t, err)
	window := n.window(t)
	for round := range rounds {
		after := rand.N(window)
		n.killAgent(t, string(text), after)
		e, err := runtime.Open(t.Context(), a.node(t).cfg)
		must(t, err)
		n.compare(t, e, fmt.Sprintf("round %d, killed after %v", round, after))
		if round%2 == 1 || round == rounds-1 {
			for _, i := range e.Instances() {
				must(t, e.StopInstance(t.Context(), i.ID))
				must(t, e.RemoveInstance(t.Context(), i.ID))
			}
			n.checkClean(t)
		}
		must(t, e.Close())
		if t.Failed() {
			return
		}
	}
}

// window is the time that an agent gets for some pods, from beginning to end. It
// is longer on an emulated machine.
func (n *testNode) window(t *testing.T) time.Duration {
	t.Helper()
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	begun := time.Now()
	i, err := e.RunInstance(t.Context(), pod("pace", false))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.sleeper("pace"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	must(t, e.RemoveInstance(t.Context(), i.ID))
	const some, least = 5, 400 * time.Millisecond
	window := max(some*time.Since(begun), least)
	must(t, e.Close())
	return window
}

// killAgent starts an agent and kills it some time after it was ready.
func (n *testNode) killAgent(t *testing.T, config string, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestAgentToBeKilled$", "-test.v")
	cmd.Env = append(os.Environ(), agentEnv+"="+config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	ready := make(chan struct{})
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		seen := false
		for {
			k, err := out.Read(buf)
			said.Write(buf[:k])
			if !seen && strings.Contains(said.String(), "ready") {
				seen = true
				close(ready)
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-ready:
	case <-done:
		t.Fatalf("agent ended: %s", said.String())
	}
	timer := time.NewTimer(after)
	<-timer.C
	must(t, cmd.Process.Kill())
	<-done
	_ = cmd.Wait()
	if testing.Verbose() {
		t.Log(said.String())
	}
}

// compare fails the test where the engine and the kernel disagree.
func (n *testNode) compare(t *testing.T, e *runtime.Engine, when string) {
	t.Helper()
	known := map[string]runtime.Instance{}
	states := map[string]int{}
	for _, i := range e.Instances() {
		known[i.ID] = i
		states[string(i.State)]++
		if i.State == runtime.InstanceReady && !running(i.SupervisorPID) {
			t.Errorf("%s: instance %s is ready and has no supervisor", when, i.ID)
		}
		if i.State != runtime.InstanceReady && i.Reason != "" {
			t.Logf("%s: instance %s: %s", when, i.ID[:8], i.Reason)
		}
	}
	for _, c := range e.Containers() {
		states["container "+string(c.State)]++
		switch {
		case c.State == runtime.ContainerRunning && !running(c.PID): // it may have ended just now
			await(t, fmt.Sprintf("%s: the end of container %s, which is running and has no process %d,", when, c.ID, c.PID), func() bool {
				now, err := e.Container(c.ID)
				return err == nil && now.State != runtime.ContainerRunning
			})
		case c.State == runtime.ContainerUnknown:
			t.Errorf("%s: container %s is unknown: %s", when, c.ID, c.Reason)
		case c.State == runtime.ContainerExited && c.FinishedAt.IsZero():
			t.Errorf("%s: container %s exited at no time", when, c.ID)
		}
		if _, ok := known[c.InstanceID]; !ok {
			t.Errorf("%s: container %s is of no instance", when, c.ID)
		}
		n.checkLog(t, c)
	}
	t.Logf("%s: %v", when, states)
	for _, dir := range []string{"state/instances", "run/instances", "netns"} {
		entries, _ := os.ReadDir(filepath.Join(n.dir, dir))
		for _, entry := range entries {
			if _, ok := known[strings.TrimPrefix(entry.Name(), "siflet-")]; !ok {
				t.Errorf("%s: %s/%s is of no instance", when, dir, entry.Name())
			}
		}
	}
	for _, h := range []string{"", "memory", "pids", "unified"} { // "": all is v2
		found, _ := filepath.Glob("/sys/fs/cgroup/" + h + n.cfg.CgroupParent + "/siflet-*")
		for _, dir := range found {
			if _, ok := known[strings.TrimPrefix(filepath.Base(dir), "siflet-")]; !ok {
				t.Errorf("%s: cgroup %s is of no instance", when, dir)
			}
		}
	}
}

// checkLog wants the whole output of a container that ran to its end.
func (n *testNode) checkLog(t *testing.T, c runtime.Container) {
	t.Helper()
	if c.State != runtime.ContainerExited || c.ExitCode != 3 {
		return
	}
	text, err := os.ReadFile(c.LogPath)
	if err != nil || !strings.Contains(string(text), " begin\n") || !strings.Contains(string(text), " end\n") {
		t.Errorf("log of container %s: %q, %v", c.ID, text, err)
	}
}

func running(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}
