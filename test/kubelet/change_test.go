package kubelet_test

import (
	"encoding/json"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAChangedManifestIsAnotherPod(t *testing.T) {
	t.Parallel()
	spec := `
terminationGracePeriodSeconds: 30
containers:
- {name: c, image: IMAGE, command: [sh, -c, "trap exit TERM; echo WORD; while :; do sleep 0.1; done"]}
`
	p := quiet.run(t, "changed", replace(spec, "WORD", "before"))
	was := p.ready()
	p.change(replace(spec, "WORD", "after"))
	p.said("c", "after")
	is := p.until("to be another", func(s *podState) bool { return s.Metadata.UID != was.Metadata.UID && s.ready() })
	if c := is.container("c"); c.RestartCount != 0 || c.ContainerID == was.container("c").ContainerID {
		t.Errorf("the container is %+v, want a new one", c)
	}
}

// sandbox is the ID of the pod, and what more the agent says of it.
func (p *pod) sandbox() (id string, info map[string]any) {
	p.t.Helper()
	list, err := p.node.cri().ListPodSandbox(within(p.t), &criapi.ListPodSandboxRequest{Filter: &criapi.PodSandboxFilter{
		State:         &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{"io.kubernetes.pod.name": p.name + "-node"},
	}})
	if err != nil || len(list.Items) != 1 {
		p.t.Fatalf("pods %v, %v; want one", list, err)
	}
	id = list.Items[0].Id
	status, err := p.node.cri().PodSandboxStatus(within(p.t), &criapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	must(p.t, err)
	must(p.t, json.Unmarshal([]byte(status.Info["info"]), &info))
	return id, info
}

func TestAPodThatIsLostIsMadeAnew(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "lost", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
`)
	was := p.ready()
	id, info := p.sandbox()
	pid, ok := info["pid"].(float64)
	if !ok || pid < 2 {
		t.Fatalf("the agent says %v of the pod, want the supervisor's pid", info)
	}
	must(t, syscall.Kill(int(pid), syscall.SIGKILL))
	is := p.until("to have its container again", func(s *podState) bool {
		c := s.container("c")
		return c.RestartCount == 1 && c.ContainerID != was.container("c").ContainerID && s.ready()
	})
	if again, _ := p.sandbox(); again == id || is.Metadata.UID != was.Metadata.UID {
		t.Errorf("the pod is %s of %s, want a new one of the same", again, is.Metadata.UID)
	}
	if e := is.container("c").LastState.Terminated; e == nil || e.Reason != "Unknown" || e.ExitCode != 255 {
		t.Errorf("the container that was lost ended as %+v, want exit code 255 for an end that nobody knows", e)
	}
}

func TestTheEndOfALogIsTheMessageOfAFailure(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "message", `
restartPolicy: Never
containers:
- {name: c, image: IMAGE, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, "echo no such luck; exit 4"]}
- {name: file, image: IMAGE, terminationMessagePath: /tmp/end, command: [sh, -c, "echo by file >/tmp/end; exit 4"]}
`)
	s := p.phase("Failed")
	for name, want := range map[string]string{"c": "no such luck\n", "file": "by file\n"} {
		if e := s.container(name).State.Terminated; e == nil || e.Message != want {
			t.Errorf("%s ended as %+v, want the message %q", name, e, want)
		}
	}
}
