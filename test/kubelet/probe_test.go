package kubelet_test

import (
	"os"
	"path/filepath"
	"testing"
)

// kinds is a container for each kind of probe, which succeeds while there is a
// file /tmp/well, or from then on; PROBE is the probe's role, with what goes with it.
const kinds = `
terminationGracePeriodSeconds: 1
containers:
- name: http
  image: IMAGE
  command: [sh, -c, "BEGIN httpd -f -p 8080 -h /tmp & exec sleep 1000"]
  ROLE: {httpGet: {path: /well, port: 8080}, SOON}
- name: exec
  image: IMAGE
  command: [sh, -c, "BEGIN exec sleep 1000"]
  ROLE: {exec: {command: [cat, /tmp/well]}, SOON}
- name: grpc
  image: IMAGE
  command: [sh, -c, "BEGIN exec /health"]
  env: [{name: HEALTH, value: "9090"}]
  ROLE: {grpc: {port: 9090}, SOON}
  volumeMounts: [{name: health, mountPath: /health}]
- name: tcp
  image: IMAGE
  command: [sh, -c, "BEGIN while :; do if [ -e /tmp/well ]; then [ -n \"$s\" ] || { httpd -f -p 8081 -h /tmp & s=$!; }; elif [ -n \"$s\" ]; then kill $s; s=; fi; sleep 0.1; done"]
  ROLE: {tcpSocket: {port: 8081}, SOON}
volumes:
- {name: health, hostPath: {path: TEST, type: File}}
`

func probed(t *testing.T, role, begin, soon string) string {
	t.Helper()
	test, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return replace(kinds, "ROLE", role, "BEGIN", begin, "SOON", soon, "HEALTH", healthPort, "TEST", test)
}

func TestReadinessFollowsProbesOfAllKinds(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "readiness", probed(t, "readinessProbe", ":;", "periodSeconds: 1, failureThreshold: 1"))
	names := []string{"http", "exec", "grpc", "tcp"}
	all := func(ready bool) func(s *podState) bool {
		return func(s *podState) bool {
			for _, name := range names {
				if c := s.container(name); c.State.Running == nil || c.Ready != ready {
					return false
				}
			}
			return s.ready() == ready
		}
	}
	p.until("to run without being ready", all(false))
	for _, name := range names {
		p.shell(name, "touch /tmp/well")
	}
	p.until("to be ready", all(true))
	for _, name := range names {
		p.shell(name, "rm /tmp/well")
	}
	s := p.until("to be ready no more", all(false))
	for _, name := range names {
		if c := s.container(name); c.RestartCount != 0 {
			t.Errorf("%s was started again", name)
		}
	}
}

func TestLivenessProbesOfAllKindsStartContainersAgain(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "liveness", probed(t, "livenessProbe", "touch /tmp/well;", "periodSeconds: 1, failureThreshold: 2, initialDelaySeconds: 3"))
	names := []string{"http", "exec", "grpc", "tcp"}
	p.ready()
	for _, name := range names {
		p.shell(name, "rm /tmp/well")
	}
	s := p.until("to have started all containers again", func(s *podState) bool {
		for _, name := range names {
			if c := s.container(name); c.RestartCount != 1 || c.State.Running == nil {
				return false
			}
		}
		return true
	})
	for _, name := range names {
		if e := s.container(name).LastState.Terminated; e == nil || e.ExitCode == 0 {
			t.Errorf("%s ended as %+v, want it killed", name, e)
		}
	}
}

func TestStartupProbesHoldBackTheOthers(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "startup", `
terminationGracePeriodSeconds: 1
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "touch /tmp/fresh; exec sleep 1000"]
  startupProbe: {exec: {command: [sh, -c, "echo x >>/tmp/asked; [ -e /tmp/up ]"]}, periodSeconds: 1, failureThreshold: 1000}
  livenessProbe: {exec: {command: [sh, -c, "[ -e /tmp/up ]"]}, periodSeconds: 1, failureThreshold: 1}
`)
	p.shows("c", "[ $(wc -l </tmp/asked) -ge 4 ] && echo often", "often")
	s := p.until("to be held back", func(s *podState) bool { return s.container("c").State.Running != nil })
	if c := s.container("c"); c.RestartCount != 0 || c.Started == nil || *c.Started || c.Ready {
		t.Errorf("the container is %+v, want it not started and not ready, its first time", c)
	}
	p.shell("c", "touch /tmp/up")
	p.ready()
	p.shell("c", "rm /tmp/up")
	p.until("to be started again", func(s *podState) bool { return s.container("c").RestartCount == 1 })
}

func TestAProbeThatTakesTooLongHasFailed(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "slow", `
terminationGracePeriodSeconds: 1
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "exec sleep 1000"]
  livenessProbe: {exec: {command: [sh, -c, "sleep 900"]}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}
- {name: other, image: IMAGE, command: [sleep, "1000"]}
`)
	s := p.until("to be started again", func(s *podState) bool { return s.container("c").RestartCount >= 1 })
	if c := s.container("other"); c.RestartCount != 0 {
		t.Errorf("its neighbour is %+v, want it untouched", c)
	}
}
