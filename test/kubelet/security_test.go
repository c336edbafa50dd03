package kubelet_test

import (
	"slices"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSecurityContextsAreKept(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "security", `
terminationGracePeriodSeconds: 0
securityContext:
  runAsUser: 1001
  runAsGroup: 1002
  fsGroup: 1003
  supplementalGroups: [1004]
  supplementalGroupsPolicy: Strict
  seccompProfile: {type: RuntimeDefault}
  sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "81"}]
containers:
- name: plain
  image: IMAGE
  command: [sleep, "1000"]
  volumeMounts: [{name: files, mountPath: /files}]
- name: strict
  image: IMAGE
  command: [sleep, "1000"]
  securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
- name: able
  image: IMAGE
  command: [sleep, "1000"]
  securityContext: {runAsUser: 0, runAsGroup: 0, capabilities: {drop: [ALL], add: [NET_ADMIN]}, seccompProfile: {type: Unconfined}}
- name: privileged
  image: IMAGE
  command: [sleep, "1000"]
  securityContext: {runAsUser: 0, runAsGroup: 0, privileged: true}
volumes:
- {name: files, emptyDir: {}}
`)
	p.ready()
	status := func(key string) string { return "grep ^" + key + ": /proc/self/status | cut -f2" }
	p.writes("plain", map[string]string{
		"id -u; id -g; id -G": "1001\n1002\n1002 1003 1004",
		"stat -c %g /files; touch /files/x && stat -c '%u %g' /files/x": "1003\n1001 1003",
		status("Seccomp"): "2",
		status("CapEff"):  "0000000000000000",
		"cat /proc/sys/net/ipv4/ip_unprivileged_port_start": "81",
	})
	p.writes("strict", map[string]string{
		status("NoNewPrivs"):                     "1",
		status("CapBnd"):                         "0000000000000000",
		"touch /x 2>/dev/null || echo read-only": "read-only",
	})
	p.writes("able", map[string]string{
		"id -u; id -g; id -G": "0\n0\n0 1003 1004",
		status("CapEff"):      "0000000000001000",
		status("Seccomp"):     "0",
	})
	p.writes("privileged", map[string]string{
		status("Seccomp"): "0",
		"[ $(ls /dev | wc -l) -gt 20 ] && mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /tmp && echo may": "may",
	})
}

func TestANonRootPodIsNotStartedAsRoot(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "nonroot", `
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"], securityContext: {runAsNonRoot: true}}
`)
	p.until("to be refused", func(s *podState) bool {
		w := s.container("c").State.Waiting
		return w != nil && w.Reason == "CreateContainerConfigError" && strings.Contains(w.Message, "runAsNonRoot")
	})
}

func TestAUserNamespaceIsThePods(t *testing.T) {
	t.Parallel()
	status, err := quiet.cri().Status(within(t), &criapi.StatusRequest{})
	must(t, err)
	if !slices.ContainsFunc(status.RuntimeHandlers, func(h *criapi.RuntimeHandler) bool { return h.Features.GetUserNamespaces() }) {
		t.Skip("this kernel can't map the ids of what images and the directories of volumes are on")
	}
	p := quiet.run(t, "userns", `
hostUsers: false
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"], volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]}
- {name: d, image: IMAGE, command: [sleep, "1000"]}
volumes:
- {name: disk, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory}}
`)
	p.ready()
	uids := strings.Fields(p.shell("c", "cat /proc/self/uid_map"))
	if len(uids) != 3 || uids[0] != "0" || uids[1] == "0" || uids[2] != "65536" {
		t.Errorf("the container's ids are %v, want 65536 that are not the node's", uids)
	}
	if other := strings.Fields(p.shell("d", "cat /proc/self/uid_map")); strings.Join(other, " ") != strings.Join(uids, " ") {
		t.Errorf("its neighbour's ids are %v, want the same: %v", other, uids)
	}
	p.writes("c", map[string]string{
		"id -u; touch /disk/x /memory/x && stat -c %u /disk /disk/x /memory/x /bin/busybox": "0\n0\n0\n0\n0",
	})
}
