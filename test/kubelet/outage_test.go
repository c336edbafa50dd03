package kubelet_test

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/siflet/siflet/test/kubetest"
)

// three are pods that live through an outage: one goes on, one has a container
// that ends meanwhile, and one is taken away.
type three struct{ stays, ends, goes *pod }

const (
	steady = `
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "trap exit TERM; echo begun; while :; do sleep 0.1; done"]
  readinessProbe: {exec: {command: [sh, -c, "true"]}, periodSeconds: 1}
  livenessProbe: {exec: {command: [sh, -c, "true"]}, periodSeconds: 1, failureThreshold: 1}
`
	ending = `
containers:
- {name: c, image: IMAGE, command: [sh, -c, "trap exit TERM; while [ ! -e /kept/go ]; do sleep 0.1; done; rm /kept/go; exit 5"], volumeMounts: [{name: kept, mountPath: /kept}]}
- {name: other, image: IMAGE, command: [sh, -c, "trap exit TERM; while :; do sleep 0.1; done"], volumeMounts: [{name: kept, mountPath: /kept}]}
volumes:
- {name: kept, hostPath: {path: KEPT}}
`
)

// outage runs the pods before, during and after something is not there.
func (n *node) outage(t *testing.T, stop, start func() error) {
	t.Helper()
	kept, _ := diary(t)
	p := three{n.run(t, "stays", steady), n.run(t, "ends", replace(ending, "KEPT", kept)), n.run(t, "goes", steady)}
	stays, ends := p.stays.ready().container("c"), p.ends.ready()
	p.goes.ready()
	must(t, stop())
	must(t, os.WriteFile(kept+"/go", nil, 0o644))
	must(t, os.Remove(p.goes.manifest()))
	eventually(t, "the container to end", func() error {
		_, err := os.Stat(kept + "/go")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return os.ErrExist
	})
	must(t, start())
	p.goes.remove()
	s := p.ends.until("to have its container again", func(s *podState) bool {
		return s.container("c").RestartCount == 1 && s.ready()
	})
	if e := s.container("c").LastState.Terminated; e == nil || e.ExitCode != 5 {
		t.Errorf("the container that ended meanwhile did as %+v, want exit code 5", e)
	}
	if was, is := ends.container("other"), s.container("other"); is.ContainerID != was.ContainerID || is.RestartCount != 0 {
		t.Errorf("its neighbour is %+v, want what it was, %+v", is, was)
	}
	if got := p.stays.shell("c", "cat /proc/1/comm"); got != "sh" {
		t.Errorf("its first process is %q, want sh", got)
	}
	if is := p.stays.ready().container("c"); is.ContainerID != stays.ContainerID || is.RestartCount != 0 {
		t.Errorf("the container that stays is %+v, want what it was, %+v", is, stays)
	}
	if text := p.stays.said("c", "begun"); text != "begun\n" {
		t.Errorf("its log is %q, want a single begin", text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPodsLiveThroughARestartOfTheKubelet(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			n := start(t, settings{})
			n.outage(t, func() error { return kubetest.Stop(n.kubelet, sig) }, n.startKubelet)
		})
	}
}

func TestPodsLiveThroughARestartOfTheAgent(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			n := start(t, settings{})
			n.outage(t, func() error { return kubetest.Stop(n.agent, sig) }, n.startAgent)
		})
	}
}
