package cri_test

import (
	"os"
	"strings"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// freeze has a group stand still, as somebody else may do, until it is thawed.
func freeze(t *testing.T, cgroup string) (thaw func()) {
	t.Helper()
	file, frozen, thawed := "/sys/fs/cgroup/freezer"+cgroup+"/freezer.state", "FROZEN", "THAWED"
	if unified() {
		file, frozen, thawed = "/sys/fs/cgroup"+cgroup+"/cgroup.freeze", "1", "0"
	}
	eventually(t, "the group to stand still", func() bool {
		if err := os.WriteFile(file, []byte(frozen), 0); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(strings.Replace(file, "cgroup.freeze", "cgroup.events", 1))
		return strings.Contains(string(text), "FROZEN") || strings.Contains(string(text), "frozen 1")
	})
	return func() { _ = os.WriteFile(file, []byte(thawed), 0) } // it may be gone
}

// frozenContainer is one that minds its stop signal, and stands still.
func frozenContainer(t *testing.T, a *agent) (pod, id, cgroup string, thaw func()) {
	t.Helper()
	pod, p := a.hostPod("p")
	id = a.launch(pod, containerConfig("c", busybox(t), "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"), p)
	eventually(t, "the log", func() bool { return strings.Contains(readLog(t, a.status(id)), "up") })
	cgroup = a.containerGroup(id)
	thaw = freeze(t, cgroup)
	t.Cleanup(thaw)
	return pod, id, cgroup, thaw
}

func TestAnExecInAFrozenContainerEndsAtItsTimeout(t *testing.T) {
	a := start(t)
	pod, id, cgroup, thaw := frozenContainer(t, a)
	began := time.Now()
	_, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep", "2000"}, Timeout: 1})
	took := time.Since(began)
	wantRefusal(t, "ExecSync", err, "DeadlineExceeded", "timeout 1s exceeded")
	const most = 20 * time.Second // of the minutes that it could take
	if took > most {
		t.Errorf("ExecSync took %s", took)
	}
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING { // its supervisor answers
		t.Errorf("status = %v", s)
	}
	other, p := a.hostPod("other")
	a.launch(other, containerConfig("c", busybox(t), "sleep", "1000"), p)
	thaw()
	eventually(t, "the end of the command", func() bool {
		for _, pid := range procs(t, cgroup) {
			command, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if strings.Contains(string(command), "2000") || strings.Contains(string(command), "siflet") {
				return false
			}
		}
		return true
	})
	if got := a.execSync(id, "echo", "fine"); string(got.Stdout) != "fine\n" {
		t.Errorf("exec = %v", got)
	}
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
}

func TestAFrozenContainerIsStopped(t *testing.T) {
	const most = 4 * time.Second // beyond the grace period; less than what is given to who does not die
	for name, stop := range map[string]func(a *agent, pod, id string) error{
		"after its grace period": func(a *agent, _, id string) error {
			_, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 1})
			return err
		},
		"at once": func(a *agent, _, id string) error {
			_, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id})
			return err
		},
		"with its pod": func(a *agent, pod, _ string) error {
			_, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t)
			pod, id, cgroup, _ := frozenContainer(t, a)
			began := time.Now()
			if err := stop(a, pod, id); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > time.Second+most && !unified() {
				t.Errorf("the stop took %s", took)
			}
			if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 || len(procs(t, cgroup)) > 0 {
				t.Errorf("status = %v, want it killed", s)
			}
		})
	}
}

// Who is thawed in time hears the signal.
func TestAContainerThatIsThawedInItsGracePeriodEndsByItself(t *testing.T) {
	a := start(t)
	_, id, cgroup, thaw := frozenContainer(t, a)
	done := make(chan error, 1)
	go func() {
		_, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: id, Timeout: 100})
		done <- err
	}()
	eventually(t, "the signal to be sent", func() bool {
		for _, pid := range procs(t, cgroup) {
			text, _ := os.ReadFile("/proc/" + pid + "/status")
			if _, pending, _ := strings.Cut(string(text), "ShdPnd:\t"); strings.HasPrefix(pending, "0000000000004000") {
				return true
			}
		}
		return false
	})
	thaw()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := a.status(id); s.ExitCode != 7 {
		t.Errorf("status = %v, want what its trap says", s)
	}
}
