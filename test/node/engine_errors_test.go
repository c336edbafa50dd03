package node

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/supervisor"
)

func TestEngineRefusesBadInstancesAndLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:18080")
	must(t, err)
	defer listener.Close()
	for name, c := range map[string]struct {
		change func(*runtime.InstanceSpec)
		want   error
	}{
		"cgroup parent that leads elsewhere": {func(s *runtime.InstanceSpec) { s.CgroupParent = "/nowhere/../at-all" }, runtime.ErrInvalid},
		"port that is taken": {func(s *runtime.InstanceSpec) {
			s.Ports = []runtime.Port{{Host: 18080, Container: 80, Protocol: "tcp"}}
		}, runtime.ErrUnavailable},
		"unknown namespace mode": {func(s *runtime.InstanceSpec) { s.Namespaces.IPC = "target" }, runtime.ErrInvalid},
		"sysctl that is unknown": {func(s *runtime.InstanceSpec) { s.Sysctls = map[string]string{"net.no.such": "1"} }, nil},
	} {
		s := pod("bad", false)
		c.change(&s)
		_, err := e.RunInstance(t.Context(), s)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: RunInstance() = %v, want %v", name, err, c.want)
		}
		t.Logf("%s: %v", name, err)
		n.checkClean(t)
	}
	i, err := e.RunInstance(t.Context(), pod("bad", false))
	must(t, err)
	if _, err := e.RunInstance(t.Context(), pod("bad", false)); !errors.Is(err, runtime.ErrExists) {
		t.Errorf("RunInstance() of a name in use = %v, want ErrExists", err)
	}
	must(t, e.RemoveInstance(t.Context(), i.ID))
	must(t, e.RemoveInstance(t.Context(), i.ID))
	if err := e.StopInstance(t.Context(), i.ID); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("StopInstance() of what is gone = %v, want ErrNotFound", err)
	}
}

func TestEngineRefusesBadContainersAndLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	must(t, os.WriteFile(n.dir+"/file", nil, 0o600))
	for name, c := range map[string]struct {
		change func(*runtime.ContainerSpec)
		want   error
	}{
		"unknown image":       {func(s *runtime.ContainerSpec) { s.Image = "/no/such.sif" }, runtime.ErrNotFound},
		"file that is no SIF": {func(s *runtime.ContainerSpec) { s.Image = n.dir + "/file" }, runtime.ErrInvalid},
		"missing bind source": {func(s *runtime.ContainerSpec) {
			s.Mounts = []runtime.Mount{{Source: "/no/such", Target: "/data"}}
		}, runtime.ErrInvalid},
		"no command":              {func(s *runtime.ContainerSpec) { s.Command = nil; s.Image = n.image }, nil},
		"log directory a file":    {func(s *runtime.ContainerSpec) { s.LogPath = n.dir + "/file/x.log" }, runtime.ErrInvalid},
		"unknown capability":      {func(s *runtime.ContainerSpec) { s.Security.AddCaps = []string{"FLY"} }, runtime.ErrInvalid},
		"missing seccomp profile": {func(s *runtime.ContainerSpec) { s.Security.Seccomp = "localhost//no/such.json" }, runtime.ErrInvalid},
		"relative mount target":   {func(s *runtime.ContainerSpec) { s.Mounts = []runtime.Mount{{Type: "tmpfs", Target: "x"}} }, runtime.ErrInvalid},
		"unknown stop signal":     {func(s *runtime.ContainerSpec) { s.StopSignal = "SIGWHAT" }, runtime.ErrInvalid},
	} {
		s := n.sleeper("bad")
		c.change(&s)
		made, err := e.CreateContainer(t.Context(), i.ID, s)
		if name == "no command" { // an image with the contract may start itself
			if err == nil {
				err = e.StartContainer(t.Context(), made.ID)
				must(t, e.RemoveContainer(t.Context(), made.ID))
			}
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: CreateContainer() = %v, want %v", name, err, c.want)
		}
		t.Logf("%s: %v", name, err)
		if list := e.Containers(); len(list) != 0 {
			t.Errorf("%s: Containers() = %v, want none", name, list)
		}
	}
	s := n.container("bad", "no-such-command")
	c, err := e.CreateContainer(t.Context(), i.ID, s)
	must(t, err)
	err = e.StartContainer(t.Context(), c.ID)
	if !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("StartContainer() of a command that is missing = %v, want ErrInvalid", err)
	}
	got, err := e.Container(c.ID)
	if err != nil || got.State != runtime.ContainerExited || got.ExitCode != 128 || !strings.Contains(got.Reason, "no-such-command") {
		t.Errorf("Container() = %+v, %v, want it exited with 128 and a reason", got, err)
	}
	if err := e.StartContainer(t.Context(), c.ID); !errors.Is(err, runtime.ErrNotReady) {
		t.Errorf("second StartContainer() = %v, want ErrNotReady", err)
	}
	must(t, e.RemoveContainer(t.Context(), c.ID))
	// The next attempt works.
	c, err = e.CreateContainer(t.Context(), i.ID, n.sleeper("bad"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
}

func TestStopKillsAfterGraceAndRemoveDuringExec(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.container("deaf", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	start := time.Now()
	must(t, e.StopContainer(t.Context(), c.ID, 200*time.Millisecond, runtime.StopOptions{}))
	if took := time.Since(start); took < 200*time.Millisecond || took > patience/2 {
		t.Errorf("StopContainer() took %v", took)
	}
	if got, err := e.Container(c.ID); err != nil || got.ExitCode != 137 {
		t.Errorf("Container() = %+v, %v, want exit code 137", got, err)
	}
	c, err = e.CreateContainer(t.Context(), i.ID, n.sleeper("main"))
	must(t, err)
	must(t, e.StartContainer(t.Context(), c.ID))
	out, _, exit, err := e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{
		Args: []string{"sh", "-c", "sleep 100 & echo out"}, Timeout: patience,
	}, 100)
	if err != nil || string(out) != "out\n" || exit.Code != 0 {
		t.Errorf("ExecSync() with a background child = %q, %+v, %v", out, exit, err)
	}
	_, _, exit, err = e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{Args: []string{"sleep", "100"}, Timeout: 100 * time.Millisecond}, 100)
	if err != nil || !exit.TimedOut {
		t.Errorf("ExecSync() with a timeout = %+v, %v, want TimedOut", exit, err)
	}
	out, _, _, err = e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{Args: []string{"sh", "-c", "yes | head -c 1000000"}}, 1000)
	if err != nil || len(out) != 1000 {
		t.Errorf("ExecSync() of a lot of output gave %d bytes, %v, want 1000", len(out), err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, _, err := e.ExecSync(t.Context(), c.ID, runtime.ExecSpec{Args: []string{"sleep", "100"}}, 100)
		done <- err
	}()
	must(t, e.RemoveContainer(t.Context(), c.ID))
	if err := <-done; err == nil {
		t.Log("the exec ended by itself")
	}
}

func TestRunOnceRunsAndLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	img, err := n.store.Lookup(n.image)
	must(t, err)
	run := func(net bool, command ...string) (supervisor.Exit, string, error) {
		out, err := os.OpenFile(n.dir+"/out", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		must(t, err)
		defer out.Close()
		spec := runtime.ContainerSpec{Image: n.image, Command: command, Upper: runtime.UpperNone}
		spec.Mounts = []runtime.Mount{{Type: "tmpfs", Target: "/dev/shm"}}
		spaces := runtime.Namespaces{Network: runtime.ModeHost}
		cfg := runtime.OnceConfig{
			InstanceBinary: n.cfg.InstanceBinary, ActionBinary: n.cfg.ActionBinary, Image: img, Stdout: out, Stderr: out,
			Hostname: "once", Cgroups: n.cfg.Cgroups, CgroupParent: n.cfg.CgroupParent,
		}
		if net {
			spaces.Network = runtime.ModeInstance
			cfg.Network, cfg.BuiltInNetwork, cfg.Dir = n.cfg.Network, true, n.dir
		}
		exit, err := runtime.RunOnce(t.Context(), cfg, spec, spaces)
		text, rerr := os.ReadFile(n.dir + "/out")
		must(t, rerr)
		return exit, string(text), err
	}
	exit, out, err := run(false, "sh", "-c", "hostname; test $$ -lt 10 && echo own; exit 5")
	if err != nil || exit.Code != 5 || out != "once\nown\n" {
		t.Errorf("RunOnce() = %+v, %q, %v", exit, out, err)
	}
	exit, out, err = run(true, "ip", "-4", "-o", "addr", "show", "eth0")
	if err != nil || exit.Code != 0 || !strings.Contains(out, "10.213.") {
		t.Errorf("RunOnce() with a network = %+v, %q, %v", exit, out, err)
	}
	if _, _, err := run(false, "no-such-command"); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("RunOnce() of a missing command = %v, want ErrInvalid", err)
	}
	start := time.Now()
	_, _, err = run(false, "true")
	must(t, err)
	t.Logf("true in %v", time.Since(start))
}
