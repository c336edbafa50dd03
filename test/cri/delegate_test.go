package cri_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const crun = "/usr/bin/crun"

// delegating starts an agent with a handler whose runtime is the program.
func delegating(t *testing.T, program string) *agent {
	t.Helper()
	return delegatingFor(t, program, "2m") // however slow the machine
}

// delegatingFor gives the runtime a time.
func delegatingFor(t *testing.T, program, timeout string) *agent {
	t.Helper()
	a, _ := configured(t, "[handlers.other]\nruntime = \""+program+"\"\nruntime_timeout = \""+timeout+"\"\nannotations = [\"passed*\"]\n")
	return a
}

func needCrun(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(crun); err != nil {
		t.Skip("needs crun: make deps")
	}
}

func TestADelegatedRuntimeRunsContainers(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", busybox(t), "sh", "-c", "echo out; echo err >&2; hostname; id -u; cat /etc/hostname; trap 'echo stopping; exit 7' TERM; while :; do sleep 0.1; done")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1234}}
	id := a.launch(pod, c, p)
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("status = %v", s)
	}
	eventually(t, "the log", func() bool { return strings.Contains(readLog(t, a.status(id)), "1234") })
	out, err := exec.Command(crun, "--root", a.ociRoot(t, pod), "list").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "running") {
		t.Errorf("crun list = %s, %v", out, err)
	}
	exited := a.execSync(id, "sh", "-c", "id -u; echo bad >&2; exit 3")
	if exited.ExitCode != 3 || string(exited.Stdout) != "1234\n" || string(exited.Stderr) != "bad\n" {
		t.Errorf("exec = %d, %q, %q", exited.ExitCode, exited.Stdout, exited.Stderr)
	}
	stats, err := a.ContainerStats(within(t), &criapi.ContainerStatsRequest{ContainerId: id})
	if err != nil || stats.Stats.Memory.WorkingSetBytes.GetValue() == 0 {
		t.Errorf("stats = %v, %v", stats, err)
	}
	a.stop()
	a.run()
	if exited := a.execSync(id, "true"); exited.ExitCode != 0 {
		t.Errorf("exec after a restart of the agent = %v", exited)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(id); s.ExitCode != 7 {
		t.Errorf("exit code = %d, want 7; log:\n%s", s.ExitCode, readLog(t, s))
	}
	log := readLog(t, a.status(id))
	for _, want := range []string{"stdout F out\n", "stderr F err\n", "stdout F stopping\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("log = %s\nwant %q in it", log, want)
		}
	}
}

// ociRoot is where the delegated runtime of a pod has its state.
func (a *agent) ociRoot(t *testing.T, pod string) string {
	t.Helper()
	return filepath.Join(a.dir, "run/instances", pod, "oci/state")
}

func TestDelegatedContainersShareWhatAPodShares(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	p.Annotations["passed"] = "x"
	pod := a.handledPod("p", "other", p)
	c := containerConfig("one", busybox(t), "sh", "-c", "echo shared > /dev/shm/file; hostname > /data/name; sleep 1000")
	host := t.TempDir()
	c.Mounts = []*criapi.Mount{{HostPath: host, ContainerPath: "/data"}}
	one := a.launch(pod, c, p)
	c = containerConfig("two", busybox(t), "sleep", "1000")
	c.Mounts = []*criapi.Mount{{HostPath: host, ContainerPath: "/data", Readonly: true}}
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{ReadonlyRootfs: true, Seccomp: &criapi.SecurityProfile{}}
	two := a.launch(pod, c, p)
	got := string(a.execSync(two, "sh", "-c", "cat /dev/shm/file /data/name; touch /data/x /y; grep -e NoNewPrivs -e Seccomp: /proc/1/status; ip -o -4 addr show eth0 | grep -c 10.213; ls /proc | grep -c '^[0-9]'").Stdout)
	if !strings.HasPrefix(got, "shared\n") || !strings.Contains(got, "Seccomp:\t2\n1\n") {
		t.Errorf("container sees %q", got)
	}
	for name, id := range map[string]string{"one": one, "two": two} {
		in := string(a.execSync(id, "readlink", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts").Stdout)
		if other := string(a.execSync(two, "readlink", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/uts").Stdout); in != other {
			t.Errorf("%s is in %s, not in %s", name, in, other)
		}
	}
	if _, err := os.Stat(filepath.Join(host, "x")); err == nil {
		t.Error("a read-only mount was written to")
	}
	text, err := os.ReadFile(filepath.Join(a.ociRoot(t, pod), two, "config.json"))
	if err != nil || !strings.Contains(string(text), `"annotations":{"passed":"x"}`) {
		t.Errorf("the runtime sees other annotations, %v", err)
	}
	// Killed without a chance to do anything about it, supervisor and all.
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: one}); err != nil {
		t.Fatal(err)
	}
	if s := a.exited(one); s.ExitCode != 137 {
		t.Errorf("exit code = %d, want 137", s.ExitCode)
	}
}

func TestABrokenDelegatedRuntimeIsNamedAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, program, want string }{
		{"missing", filepath.Join(dir, "none"), "none is not there"},
		{"fails", script("fails", "exit 1"), "fails create: it ended with status 1"},
		{"no pid", script("nopid", "exit 0"), "nopid create has written no pid file"},
		{"hangs", script("hangs", "exec sleep 1000"), "hangs create: it was not done after 3s"},
		{"no program", script("noexec", "exec /nowhere"), "noexec create: it ended with status 127"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := delegatingFor(t, c.program, "3s")
			p := podConfig(a, "p")
			pod := a.handledPod("p", "other", p)
			made, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{
				PodSandboxId: pod, Config: containerConfig("c", busybox(t), "sleep", "1000"), SandboxConfig: p,
			})
			if err == nil {
				_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made.ContainerId})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %q in it", err, c.want)
			}
			if made == nil {
				return
			}
			if s := a.status(made.ContainerId); s.State != criapi.ContainerState_CONTAINER_EXITED {
				t.Errorf("status = %v", s)
			}
			if _, err := os.Stat(filepath.Join(a.dir, "run/instances", pod, "oci", made.ContainerId)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("files of the container are left: %v", err)
			}
		})
	}
}

func TestADelegatedTerminalIsTheContainers(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", busybox(t), "sh", "-c", "tty; sleep 1000")
	c.Tty = true
	id := a.launch(pod, c, p)
	eventually(t, "the log", func() bool { return strings.Contains(readLog(t, a.status(id)), "/dev/pts/0") })
}

func TestADelegatedContainerDiesWithItsSupervisor(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	text, err := os.ReadFile(filepath.Join(a.dir, "run/instances", pod, "oci", id, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var pids struct{ SupervisorPID int }
	if err := json.Unmarshal([]byte(info.Info["info"]), &pids); err != nil || pids.SupervisorPID == 0 {
		t.Fatalf("info = %s, %v", info.Info["info"], err)
	}
	if err := syscall.Kill(pids.SupervisorPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container's end", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
