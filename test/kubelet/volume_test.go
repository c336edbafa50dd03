package kubelet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (p *pod) writes(container string, want map[string]string) {
	p.t.Helper()
	for command, want := range want {
		if got := p.shell(container, command); got != want {
			p.t.Errorf("%s in %s of %s writes %q, want %q", command, container, p.name, got, want)
		}
	}
}

func TestVolumesOfAllKinds(t *testing.T) {
	t.Parallel()
	host := filepath.Join(quiet.dir, "host")
	must(t, os.MkdirAll(host+"/sub/deeper", 0o755))
	must(t, os.WriteFile(host+"/file", []byte("of the node\n"), 0o644))
	p := quiet.run(t, "volumes", replace(`
terminationGracePeriodSeconds: 0
initContainers:
- {name: seed, image: IMAGE, command: [sh, -c, "mkdir -p /disk/a/b; echo seed >/disk/a/b/f; echo kept >/memory/f"], volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]}
containers:
- name: c
  image: IMAGE
  command: [sleep, "1000"]
  resources: {requests: {cpu: 100m}}
  env:
  - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  volumeMounts:
  - {name: disk, mountPath: /disk}
  - {name: memory, mountPath: /memory}
  - {name: huge, mountPath: /dev/shm}
  - {name: disk, mountPath: /sub, subPath: a/b}
  - {name: disk, mountPath: /subfile, subPath: a/b/f}
  - {name: disk, mountPath: /expr, subPathExpr: by/$(NAME)}
  - {name: host, mountPath: /host}
  - {name: host, mountPath: /read, readOnly: true, mountPropagation: None}
  - {name: file, mountPath: /etc/of-the-node}
  - {name: made, mountPath: /made}
  - {name: image, mountPath: /image}
  - {name: image, mountPath: /image-etc, subPath: etc}
  - {name: podinfo, mountPath: /podinfo}
- {name: other, image: IMAGE, command: [sleep, "1000"], volumeMounts: [{name: disk, mountPath: /same, readOnly: true}]}
volumes:
- {name: disk, emptyDir: {sizeLimit: 10Mi}}
- {name: memory, emptyDir: {medium: Memory, sizeLimit: 2Mi}}
- {name: huge, emptyDir: {medium: Memory, sizeLimit: 3Mi}}
- {name: host, hostPath: {path: HOST, type: Directory}}
- {name: file, hostPath: {path: HOST/file, type: File}}
- {name: made, hostPath: {path: HOST/made, type: DirectoryOrCreate}}
- {name: image, image: {reference: IMAGE, pullPolicy: IfNotPresent}}
- {name: podinfo, downwardAPI: {defaultMode: 0440, items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: cpu, resourceFieldRef: {containerName: c, resource: requests.cpu}}]}}
`, "HOST", host))
	p.ready()
	p.writes("c", map[string]string{
		"cat /disk/a/b/f /sub/f /subfile":                                          "seed\nseed\nseed",
		"cat /memory/f; stat -fc %T /memory":                                       "kept\ntmpfs",
		"df -k /memory /dev/shm | awk '/tmpfs/ {print $2}'":                        "2048\n3072",
		"echo by expression >/expr/f; cat /disk/by/volumes-node/f":                 "by expression",
		"cat /host/file /read/file /etc/of-the-node":                               "of the node\nof the node\nof the node",
		"touch /host/new && ls /read; touch /read/x 2>/dev/null || echo read-only": "file\nmade\nnew\nsub\nread-only",
		"touch /made/x; ls /host/made":                                             "x",
		"grep -c root: /image/etc/passwd; cmp /image/etc/passwd /image-etc/passwd && touch /image/x 2>/dev/null || echo read-only": "1\nread-only",
		"cat /podinfo/labels; echo; cat /podinfo/cpu; echo; stat -Lc %a /podinfo/labels; readlink /podinfo/labels":                 "app=\"volumes\"\n1\n440\n..data/labels",
		"dd if=/dev/zero of=/memory/big bs=1M count=4 2>&1 | grep -o 'No space'":                                                   "No space",
	})
	p.writes("other", map[string]string{"cat /same/a/b/f; touch /same/x 2>/dev/null || echo read-only": "seed\nread-only"})
	if text, err := os.ReadFile(host + "/made/x"); err != nil {
		t.Errorf("what the pod made on the node is %q, %v", text, err)
	}
}

func TestMountsComeAndGoAsTheirPropagationSays(t *testing.T) {
	t.Parallel()
	host := filepath.Join(quiet.dir, "shared")
	must(t, os.MkdirAll(host+"/in", 0o755))
	must(t, os.MkdirAll(host+"/out", 0o755))
	p := quiet.run(t, "propagation", replace(`
terminationGracePeriodSeconds: 0
containers:
- name: gives
  image: IMAGE
  command: [sleep, "1000"]
  securityContext: {privileged: true}
  volumeMounts: [{name: host, mountPath: /host, mountPropagation: Bidirectional}]
- name: takes
  image: IMAGE
  command: [sleep, "1000"]
  volumeMounts: [{name: host, mountPath: /host, mountPropagation: HostToContainer}]
- name: neither
  image: IMAGE
  command: [sleep, "1000"]
  volumeMounts: [{name: host, mountPath: /host}]
volumes:
- {name: host, hostPath: {path: HOST}}
`, "HOST", host))
	p.ready()
	p.shell("gives", "mount -t tmpfs none /host/out && touch /host/out/there")
	p.shows("takes", "ls /host/out", "there")
	p.writes("neither", map[string]string{"ls /host/out": ""})
	if entries, err := os.ReadDir(host + "/out"); err != nil || len(entries) != 1 {
		t.Errorf("the node sees %v, %v; want what the container has mounted", entries, err)
	}
	p.shell("gives", "umount /host/out")
	p.shows("takes", "ls /host/out", "")
}

func TestTheDownwardAPITellsAPodOfItself(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "downward", `
terminationGracePeriodSeconds: 0
containers:
- name: c
  image: IMAGE
  command: [sleep, "1000"]
  resources: {limits: {cpu: 500m, memory: 32Mi, ephemeral-storage: 1Gi}, requests: {cpu: 250m}}
  env:
  - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
  - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
  - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
  - {name: REQUEST, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
  - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
  - {name: COMPOSED, value: "$(NAME) at $(POD_IP), not $$(NAME)"}
`)
	s := p.ready()
	ip := s.Status.PodIP
	want := strings.Join([]string{
		"downward-node", "default", s.Metadata.UID, "downward", "node", ip, address, "500", "250", "33554432",
		"downward-node at " + ip + ", not $(NAME)",
	}, "\n")
	p.writes("c", map[string]string{
		"for v in NAME NAMESPACE POD_UID APP NODE POD_IP HOST_IP CPU REQUEST MEMORY COMPOSED; do eval echo \\$$v; done": want,
		"hostname; grep -c $POD_IP.downward-node /etc/hosts; cat /etc/resolv.conf":                                      "downward-node\n1\nnameserver 192.0.2.53",
	})
}
