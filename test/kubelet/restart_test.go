package kubelet_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestAContainerThatEndsIsStartedAgainWithBackOff(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "crash", `
containers:
- {name: c, image: IMAGE, command: [sh, -c, "echo about to end; echo the reason >/dev/termination-log; exit 3"]}
`)
	s := p.until("to wait for its next start", func(s *podState) bool {
		c := s.container("c")
		return c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" && c.RestartCount >= 2
	})
	last := s.container("c").LastState.Terminated
	if last == nil || last.ExitCode != 3 || last.Reason != "Error" || last.Message != "the reason\n" || last.FinishedAt.Before(last.StartedAt) {
		t.Errorf("last state = %+v, want exit code 3, reason Error and the message of the termination log", last)
	}
	eventually(t, "the log of the container before", func() error {
		text, err := p.logs("c", "previous=true")
		if err == nil && text != "about to end\n" {
			err = fmt.Errorf("it has %q", text)
		}
		return err
	})
}

func TestTheRestartPolicySaysWhatAnEndMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, policy, command, phase, reason string }{
		{"done", "Never", "exit 0", "Succeeded", "Completed"},
		{"broken", "Never", "exit 7", "Failed", "Error"},
		{"better", "OnFailure", "[ -e /kept/tried ] || { touch /kept/tried; exit 9; }", "Succeeded", "Completed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := quiet.run(t, c.name, `
restartPolicy: `+c.policy+`
containers:
- {name: c, image: IMAGE, command: [sh, -c, "`+c.command+`"], volumeMounts: [{name: kept, mountPath: /kept}]}
volumes:
- {name: kept, emptyDir: {}}
`)
			s := p.phase(c.phase).container("c")
			if e := s.State.Terminated; e == nil || e.Reason != c.reason {
				t.Errorf("state = %+v, want %s", s.State, c.reason)
			}
			if want := map[bool]int{true: 1}[c.policy == "OnFailure"]; s.RestartCount != want {
				t.Errorf("it was started again %d times, want %d", s.RestartCount, want)
			}
		})
	}
}

// diary is a file that containers write into.
func diary(t *testing.T) (dir string, entries func() string) {
	t.Helper()
	dir = t.TempDir()
	return dir, func() string {
		text, _ := os.ReadFile(dir + "/log") // it is not there before the first entry
		return strings.Join(strings.Fields(string(text)), " ")
	}
}

func TestInitContainersAndSidecarsHaveTheirOrder(t *testing.T) {
	t.Parallel()
	dir, entries := diary(t)
	p := quiet.run(t, "order", `
terminationGracePeriodSeconds: 60
initContainers:
- name: first
  image: IMAGE
  command: [sh, -c, "sleep 0.2; echo first >>/diary/log"]
  volumeMounts: [{name: diary, mountPath: /diary}]
- name: side
  image: IMAGE
  restartPolicy: Always
  command: [sh, -c, "trap 'echo side-ends >>/diary/log; exit' TERM; sleep 0.2; echo side >>/diary/log; touch /up; while :; do sleep 0.1; done"]
  startupProbe: {exec: {command: [test, -e, /up]}, periodSeconds: 1, failureThreshold: 100}
  volumeMounts: [{name: diary, mountPath: /diary}]
- name: second
  image: IMAGE
  command: [sh, -c, "echo second >>/diary/log"]
  volumeMounts: [{name: diary, mountPath: /diary}]
containers:
- name: main
  image: IMAGE
  command: [sh, -c, "trap 'sleep 0.5; echo main-ends >>/diary/log; exit' TERM; echo main >>/diary/log; while :; do sleep 0.1; done"]
  volumeMounts: [{name: diary, mountPath: /diary}]
volumes:
- {name: diary, hostPath: {path: `+dir+`}}
`)
	s := p.ready()
	if e := s.container("first").State.Terminated; e == nil || e.Reason != "Completed" {
		t.Errorf("the first init container is %+v, want it completed", s.container("first").State)
	}
	if s.container("side").State.Running == nil {
		t.Errorf("the sidecar is %+v, want it running", s.container("side").State)
	}
	eventually(t, "main's entry", func() error {
		if got := entries(); got != "first side second main" {
			return fmt.Errorf("the order is %q", got)
		}
		return nil
	})
	p.remove()
	if got, want := entries(), "first side second main main-ends side-ends"; got != want {
		t.Errorf("the order is %q, want %q", got, want)
	}
}

func TestAnInitContainerIsTriedUntilItSucceeds(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "init", `
initContainers:
- {name: i, image: IMAGE, command: [sh, -c, "[ -e /kept/tried ] || { touch /kept/tried; exit 9; }"], volumeMounts: [{name: kept, mountPath: /kept}]}
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
terminationGracePeriodSeconds: 0
volumes:
- {name: kept, emptyDir: {}}
`)
	if s := p.ready(); s.container("i").RestartCount != 1 {
		t.Errorf("the init container is %+v, want it started again once", s.container("i"))
	}
	never := quiet.run(t, "initnever", `
restartPolicy: Never
initContainers:
- {name: i, image: IMAGE, command: ["false"]}
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
`)
	if s := never.phase("Failed"); s.container("c").State.Running != nil || s.container("c").ContainerID != "" {
		t.Errorf("the container is %+v, want it never started", s.container("c"))
	}
}

func TestASidecarIsStartedAgainAndEndsWithTheRest(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "job", `
restartPolicy: Never
terminationGracePeriodSeconds: 1
initContainers:
- name: side
  image: IMAGE
  restartPolicy: Always
  command: [sh, -c, "[ -e /kept/again ] && exec sleep 1000; touch /kept/again; exit 4"]
  volumeMounts: [{name: kept, mountPath: /kept}]
containers:
- {name: c, image: IMAGE, command: [sh, -c, "while [ ! -e /kept/go ]; do sleep 0.1; done"], volumeMounts: [{name: kept, mountPath: /kept}]}
volumes:
- {name: kept, emptyDir: {}}
`)
	p.until("to have its sidecar again", func(s *podState) bool {
		side := s.container("side")
		return side.RestartCount == 1 && side.State.Running != nil && s.container("c").State.Running != nil
	})
	p.shell("c", "touch /kept/go")
	if s := p.phase("Succeeded").container("side"); s.State.Terminated == nil {
		t.Errorf("the sidecar is %+v, want it ended", s.State)
	}
}
