package kubelet_test

import (
	"fmt"
	"testing"
	"time"
)

func TestHooksRunAndAnEndIsGraceful(t *testing.T) {
	t.Parallel()
	dir, entries := diary(t)
	p := quiet.run(t, "hooks", `
terminationGracePeriodSeconds: 60
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "trap 'echo told >>/diary/log; exit' TERM; while :; do sleep 0.1; done"]
  lifecycle:
    postStart: {exec: {command: [sh, -c, "sleep 0.2; echo started >>/diary/log"]}}
    preStop: {exec: {command: [sh, -c, "sleep 0.2; echo stopping >>/diary/log"]}}
  volumeMounts: [{name: diary, mountPath: /diary}]
volumes:
- {name: diary, hostPath: {path: `+dir+`}}
`)
	p.ready()
	if got := entries(); got != "started" {
		t.Errorf("a ready pod's diary has %q, want started", got)
	}
	p.remove()
	if got := entries(); got != "started stopping told" {
		t.Errorf("diary has %q, want started, stopping and told", got)
	}
}

func TestAHookThatFailsEndsItsContainer(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "badhook", `
restartPolicy: Never
terminationGracePeriodSeconds: 1
containers:
- name: c
  image: IMAGE
  command: [sleep, "1000"]
  lifecycle:
    postStart: {exec: {command: [sh, -c, "exit 6"]}}
`)
	p.phase("Failed")
}

func TestHooksByHTTPAndSleep(t *testing.T) {
	t.Parallel()
	dir, entries := diary(t)
	p := quiet.run(t, "httphook", `
terminationGracePeriodSeconds: 60
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho asked >>/diary/log\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"\\n' >/www/cgi-bin/hook; chmod +x /www/cgi-bin/hook; trap exit TERM; httpd -f -p 8080 -h /www & wait"]
  readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  lifecycle:
    preStop: {httpGet: {path: /cgi-bin/hook, port: 8080}}
  volumeMounts: [{name: diary, mountPath: /diary}]
- name: sleeper
  image: IMAGE
  command: [sh, -c, "trap 'echo woken >>/diary/log; exit' TERM; while :; do sleep 0.1; done"]
  lifecycle:
    preStop: {sleep: {seconds: 1}}
  volumeMounts: [{name: diary, mountPath: /diary}]
volumes:
- {name: diary, hostPath: {path: `+dir+`}}
`)
	p.ready()
	began := time.Now()
	p.remove()
	if got := entries(); got != "asked woken" {
		t.Errorf("diary has %q, want asked and woken", got)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("the pod's end took %s, want the second that the hook sleeps", took)
	}
}

func TestAContainerThatDoesNotEndIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "stubborn", `
terminationGracePeriodSeconds: 3
containers:
- {name: c, image: IMAGE, command: [sh, -c, "trap 'echo no' TERM; while :; do sleep 0.1; done"]}
`)
	p.ready()
	began := time.Now()
	p.remove()
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the pod's end took %s, want no less than its 3 s of grace", took)
	}
}

func TestTheStopSignalIsThePods(t *testing.T) {
	t.Parallel()
	dir, entries := diary(t)
	p := quiet.run(t, "signal", `
os: {name: linux}
terminationGracePeriodSeconds: 60
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "trap 'echo usr1 >>/diary/log; exit' USR1; trap 'echo term >>/diary/log; exit' TERM; echo up; while :; do sleep 0.1; done"]
  lifecycle: {stopSignal: SIGUSR1}
  volumeMounts: [{name: diary, mountPath: /diary}]
volumes:
- {name: diary, hostPath: {path: `+dir+`}}
`)
	p.said("c", "up")
	p.remove()
	eventually(t, "the signal's entry", func() error {
		if got := entries(); got != "usr1" {
			return fmt.Errorf("diary has %q, want usr1", got)
		}
		return nil
	})
}
