package cri_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// together runs the same call from many clients.
func together(t *testing.T, what string, call func() error) {
	t.Helper()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := call(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
}

func TestStopsAndRemovalsMayComeTogetherAndAgain(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	pod := a.pod(c)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), c)
	for range 2 {
		together(t, "StopContainer", func() error {
			return second(a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}))
		})
		together(t, "StopPodSandbox", func() error {
			return second(a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}))
		})
	}
	together(t, "RemoveContainer", func() error {
		return second(a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}))
	})
	for range 2 {
		together(t, "RemovePodSandbox", func() error {
			return second(a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}))
		})
	}
	// All of it at once, on one that runs.
	pod = a.pod(c)
	id = a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), c)
	together(t, "everything", func() error {
		var all sync.WaitGroup
		var errs [4]error
		all.Go(func() {
			errs[0] = second(a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}))
		})
		all.Go(func() {
			errs[1] = second(a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}))
		})
		all.Go(func() {
			errs[2] = second(a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 20}))
		})
		all.Go(func() {
			errs[3] = second(a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}))
		})
		all.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	})
	a.checkNoPod()
}

// stubborn is a container that counts requests to stop and does not.
func stubborn(t *testing.T, a *agent, pod string, p *criapi.PodSandboxConfig, name string) string {
	t.Helper()
	id := a.launch(pod, containerConfig(name, busybox(t), "sh", "-c",
		"trap 'echo asked' TERM; (trap '' TERM; setsid sleep 7401) & echo up; while :; do sleep 0.05; done"), p)
	eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	return id
}

func TestTheShortestGracePeriodCountsAndTheSignalComesOnce(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := stubborn(t, a, pod, p, "c")
	begin := time.Now()
	long := make(chan error, 1)
	go func() {
		long <- second(a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 3600}))
	}()
	eventually(t, "the signal", func() bool { return strings.Contains(readLog(t, a.status(id)), "asked") })
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 1}); err != nil {
		t.Error(err)
	}
	if err := <-long; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took < time.Second || took > patience/2 {
		t.Errorf("took %s, want the second call's period", took)
	}
	s := a.status(id)
	if n := strings.Count(readLog(t, s), "asked"); n != 1 || s.ExitCode != 137 {
		t.Errorf("asked %d times, exit code %d; want once, 137", n, s.ExitCode)
	}
	if runsOnHost(t, "sleep\x007401\x00") {
		t.Error("what the container started goes on")
	}
}

func TestStoppingAPodDoesNotWaitForGracePeriods(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := stubborn(t, a, pod, p, "c")
	stopped := make(chan error, 1)
	go func() {
		stopped <- second(a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 3600}))
	}()
	eventually(t, "the signal", func() bool { return strings.Contains(readLog(t, a.status(id)), "asked") })
	begin := time.Now()
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %s, want no grace period", took)
	}
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
		t.Errorf("container = %s, %d; want it exited with 137", s.State, s.ExitCode)
	}
}

func TestStopSignals(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for signal, number := range map[criapi.Signal]int{
		criapi.Signal_SIGNAL_RUNTIME_DEFAULT: 15, criapi.Signal_SIGNAL_SIGUSR1: 10, criapi.Signal_SIGNAL_SIGQUIT: 3,
		criapi.Signal_SIGNAL_SIGRTMINPLUS3: 37, criapi.Signal_SIGNAL_SIGRTMAX: 64, criapi.Signal_SIGNAL_SIGRTMAXMINUS14: 50,
	} {
		c := containerConfig("c"+strconv.Itoa(number), image, "sh", "-c", fmt.Sprintf("trap 'exit 99' %d; echo up; while :; do sleep 0.05; done", number))
		c.StopSignal = signal
		id := a.launch(pod, c, p)
		eventually(t, "the trap to be set", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
		if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 10}); err != nil {
			t.Error(err)
		}
		if s := a.status(id); s.ExitCode != 99 {
			t.Errorf("%s: exit code %d, want 99", signal, s.ExitCode)
		}
	}
}

func TestContainersOfAPodThatSharesNoPIDsMayShareThem(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{
		Network: criapi.NamespaceMode_NODE, Pid: criapi.NamespaceMode_CONTAINER,
	}}
	pod := a.pod(c)
	image := busybox(t)
	run := func(name string, mode criapi.NamespaceMode, seconds string) string {
		config := containerConfig(name, image, "sleep", seconds)
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: &criapi.NamespaceOption{
			Network: criapi.NamespaceMode_NODE, Pid: mode,
		}}
		return a.launch(pod, config, c)
	}
	one := run("one", criapi.NamespaceMode_POD, "7501")
	two := run("two", criapi.NamespaceMode_POD, "7502")
	own := run("own", criapi.NamespaceMode_CONTAINER, "7503")
	if !a.runs(one, "7502") || !a.runs(two, "7501") || a.runs(one, "7503") {
		t.Error("the two with mode POD do not see each other, or see the third")
	}
	if a.runs(own, "7501") {
		t.Error("the one with mode CONTAINER sees others")
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: one}); err != nil {
		t.Error(err)
	}
	if s := a.status(two); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the second container is %s, want running", s.State)
	}
	a.end(syscall.SIGKILL)
	a.run()
	if !a.runs(two, "7502") {
		t.Error("exec does not work after a restart")
	}
}

func TestStartsThatCanNotBe(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.create(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "start in a stopped pod", second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})), "FailedPrecondition")
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "start in a removed pod", second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})), "NotFound")
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("d", busybox(t), "true"), SandboxConfig: p})
	wantCode(t, "create in a removed pod", err, "NotFound")
}

func TestAStopDuringAStartStops(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for n := range 20 {
		id := a.create(pod, containerConfig(fmt.Sprintf("c%d", n), image, "sleep", "1000"), p)
		begun := make(chan error, 1)
		go func() {
			begun <- second(a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}))
		}()
		pause(t, time.Duration(n)*time.Millisecond/2) // any moment of the start
		if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id}); err != nil {
			t.Error(err)
		}
		before := a.status(id).State
		if err := <-begun; err != nil {
			t.Errorf("start: %v", err)
		}
		// A stop that came before the start had nothing to stop.
		if after := a.status(id); before != criapi.ContainerState_CONTAINER_CREATED && after.State != criapi.ContainerState_CONTAINER_EXITED {
			t.Errorf("container was %s and is %s, want exited", before, after.State)
		}
	}
}

func TestAnEndThatTheAgentMissedIsKnown(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	gate := t.TempDir()
	later := func(name, command string, limit int64) string {
		c := containerConfig(name, image, "sh", "-c", "while [ ! -e /gate/open ]; do sleep 0.05; done; "+command)
		c.Mounts = []*criapi.Mount{{HostPath: gate, ContainerPath: "/gate"}}
		c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: limit}
		return a.launch(pod, c, p)
	}
	oom := later("oom", "dd if=/dev/zero of=/dev/null bs=200M count=1", 20<<20)
	ends, killed := later("ends", "exit 7", 0), later("killed", "kill -15 $$; sleep 10", 0)
	a.end(syscall.SIGKILL)
	begin := time.Now()
	writeFile(t, gate+"/open", "")
	for _, id := range []string{oom, ends, killed} {
		path := fmt.Sprintf("%s/state/instances/%s/containers/%s/exit.json", a.dir, pod, id)
		eventually(t, path, func() bool { return second(os.Stat(path)) == nil })
	}
	end := time.Now()
	a.run()
	for id, want := range map[string]struct {
		code   int32
		reason string
	}{oom: {137, "OOMKilled"}, ends: {7, "Error"}, killed: {143, "Error"}} {
		s := a.status(id)
		if s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != want.code || s.Reason != want.reason {
			t.Errorf("%s: %s, %d, %s; want exited, %d, %s", s.Metadata.Name, s.State, s.ExitCode, s.Reason, want.code, want.reason)
		}
		if at := time.Unix(0, s.FinishedAt); at.Before(begin.Add(-time.Second)) || at.After(end) {
			t.Errorf("%s: finished at %s, want between %s and %s", s.Metadata.Name, at, begin, end)
		}
	}
}

func TestWhatIsForgottenWhileTheAgentIsAwayIsFoundAgain(t *testing.T) {
	a := start(t)
	p := podConfig(a, "p")
	p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}
	pod := a.pod(p)
	a.end(syscall.SIGKILL) // perhaps the answer never came
	a.run()
	if again := a.pod(p); again != pod {
		t.Errorf("pod = %s, want %s, which nobody has used", again, pod)
	}
	config := containerConfig("c", busybox(t), "sleep", "1000")
	id := a.create(pod, config, p)
	wantCode(t, "a pod that is in use", second(a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: p})), "AlreadyExists")
	a.end(syscall.SIGKILL)
	a.run()
	other := containerConfig("c", busybox(t), "sleep", "2000")
	wantCode(t, "another container of the same name",
		second(a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: other, SandboxConfig: p})), "AlreadyExists")
	if again := a.create(pod, config, p); again != id {
		t.Errorf("container = %s, want %s, which nobody has used", again, id)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	a.end(syscall.SIGKILL)
	a.run()
	wantCode(t, "a container that runs",
		second(a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})), "AlreadyExists")
}

func TestACreateWhoseClientLeftFindsItsResult(t *testing.T) {
	a := start(t)
	image := busybox(t)
	for n := range 12 {
		p := podConfig(a, fmt.Sprintf("p%d", n))
		p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
		}
		if err := os.MkdirAll(p.LogDirectory, 0o755); err != nil {
			t.Fatal(err)
		}
		pod := retried(t, n, func(ctx context.Context) (string, error) {
			got, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: p})
			return got.GetPodSandboxId(), err
		})
		retried(t, n, func(ctx context.Context) (string, error) {
			got, err := a.CreateContainer(ctx, &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("c", image, "true"), SandboxConfig: p})
			return got.GetContainerId(), err
		})
	}
	pods, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{})
	if err != nil || len(pods.Items) != 12 {
		t.Errorf("%d pods, %v; want 12", len(pods.GetItems()), err)
	}
	all, err := a.ListContainers(within(t), &criapi.ListContainersRequest{})
	if err != nil || len(all.Containers) != 12 {
		t.Errorf("%d containers, %v; want 12", len(all.GetContainers()), err)
	}
}

// retried calls with deadlines that are too short, then with one that is not.
func retried(t *testing.T, n int, call func(context.Context) (string, error)) string {
	t.Helper()
	for try := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n*(try+1))*300*time.Microsecond)
		id, err := call(ctx)
		cancel()
		if err == nil {
			return id
		}
		if !bytes.Contains([]byte(err.Error()), []byte("DeadlineExceeded")) {
			t.Fatalf("try %d: %v, want success or DeadlineExceeded", try, err)
		}
	}
	id, err := call(within(t))
	if err != nil {
		t.Fatalf("with a long deadline: %v", err)
	}
	return id
}
