package cri_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// many is a container of the node's PID namespace, whose processes don't end by themselves.
func (a *agent) many(pod string, p *criapi.PodSandboxConfig) (id, cgroup string) {
	a.t.Helper()
	c := containerConfig("c", busybox(a.t), "sh", "-c", "trap '' TERM HUP; for i in 1 2 3; do setsid sleep 1000 & done; echo up; wait; sleep 1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: &criapi.NamespaceOption{Pid: criapi.NamespaceMode_NODE}}
	id = a.launch(pod, c, p)
	eventually(a.t, "the log", func() bool { return strings.Contains(readLog(a.t, a.status(id)), "up") })
	cgroup = a.containerGroup(id)
	if n := len(procs(a.t, cgroup)); n < 4 {
		a.t.Fatalf("%d processes in %s, want four", n, cgroup)
	}
	return id, cgroup
}

// procs are the processes in a group.
func procs(t *testing.T, cgroup string) []string {
	t.Helper()
	dir := "/sys/fs/cgroup/memory"
	if unified() {
		dir = "/sys/fs/cgroup"
	}
	text, err := os.ReadFile(dir + cgroup + "/cgroup.procs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// wantLost is what is to be known of a container that ended with its supervisor.
func (a *agent) wantLost(id, pod, cgroup string) {
	a.t.Helper()
	s := a.exited(id)
	if left := procs(a.t, cgroup); len(left) > 0 {
		a.t.Errorf("exited, and processes %v run", left)
	}
	if s.ExitCode != 255 || s.Reason != "Unknown" || s.FinishedAt < s.StartedAt || s.StartedAt == 0 || !strings.Contains(s.Message, "its supervisor") {
		a.t.Errorf("status = %v, want code 255, Unknown, and what happened", s)
	}
	got, err := a.PodSandboxStatus(within(a.t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || got.Status.State != criapi.PodSandboxState_SANDBOX_NOTREADY {
		a.t.Errorf("pod = %v, %v; want it not ready", got, err)
	}
	if _, err := a.StopContainer(within(a.t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 60}); err != nil {
		a.t.Error(err)
	}
	if again := a.status(id); again.FinishedAt != s.FinishedAt || again.ExitCode != s.ExitCode {
		a.t.Errorf("status = %v after it was %v", again, s)
	}
}

func TestAContainerEndsWithASupervisorThatIsKilled(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id, cgroup := a.many(pod, p)
	l := a.follow(t.Context())
	if err := syscall.Kill(a.supervisorOf(pod), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.wantLost(id, pod, cgroup)
	before := a.status(id)
	a.end(syscall.SIGKILL)
	a.run()
	if s := a.status(id); s.State != before.State || s.FinishedAt != before.FinishedAt || s.Message != before.Message {
		t.Errorf("status = %v by another agent, want %v", s, before)
	}
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
	<-l.ended
	var told []*criapi.ContainerEventResponse
	for _, e := range l.all() {
		if e.ContainerId == id {
			told = append(told, e)
		}
	}
	if len(told) != 1 || told[0].ContainerEventType != criapi.ContainerEventType_CONTAINER_STOPPED_EVENT ||
		!slices.ContainsFunc(told[0].ContainersStatuses, func(s *criapi.ContainerStatus) bool {
			return s.Id == id && s.State == criapi.ContainerState_CONTAINER_EXITED && s.ExitCode == 255
		}) {
		t.Errorf("events of the container: %v, want one that tells of its end", told)
	}
}

func TestAContainerEndsWithASupervisorThatIsKilledWhileNoAgentRuns(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id, cgroup := a.many(pod, p)
	supervisor := a.supervisorOf(pod)
	a.end(syscall.SIGKILL)
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.run()
	a.wantLost(id, pod, cgroup)
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Error(err)
	}
}

// A supervisor that hangs can't tell of an end; its container is stopped all the same.
func TestAContainerEndsWhoseSupervisorHangs(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id, cgroup := a.many(pod, p)
	supervisor := a.supervisorOf(pod)
	a.end(syscall.SIGKILL)
	if err := syscall.Kill(supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.run()
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_UNKNOWN {
		t.Errorf("status = %v, want it unknown: its processes run", s)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	a.wantLost(id, pod, cgroup)
}

// An agent that finds a supervisor hanging takes it over when it goes on.
func TestASupervisorThatHungIsTakenOverWhenItGoesOn(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id, _ := a.many(pod, p)
	supervisor := a.supervisorOf(pod)
	a.end(syscall.SIGKILL)
	if err := syscall.Kill(supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.run()
	if err := syscall.Kill(supervisor, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container to be known to run", func() bool { return a.status(id).State == criapi.ContainerState_CONTAINER_RUNNING })
	a.execSync(id, "true")
	got, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || got.Status.State != criapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("pod = %v, %v; want it ready", got, err)
	}
}
