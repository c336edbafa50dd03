package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cdiAgent is an agent that looks for devices in a directory of the test's own.
func cdiAgent(t *testing.T) (*agent, string) {
	t.Helper()
	dir := t.TempDir()
	return start(t, "--cdi-spec-dirs", dir+"/none", "--cdi-spec-dirs", dir), dir
}

// node makes a device node like /dev/null.
func node(t *testing.T, name string) string {
	t.Helper()
	if err := syscall.Mknod(name, syscall.S_IFCHR|0o640, 1<<8|3); err != nil {
		t.Fatal(err)
	}
	return name
}

func withCDI(c *criapi.ContainerConfig, names ...string) *criapi.ContainerConfig {
	for _, name := range names {
		c.CDIDevices = append(c.CDIDevices, &criapi.CDIDevice{Name: name})
	}
	return c
}

func TestNamedDevicesBringTheirEdits(t *testing.T) {
	a, dir := cdiAgent(t)
	data := t.TempDir()
	writeFile(t, data+"/lib", "library\n")
	writeFile(t, dir+"/vendor.yaml", `
cdiVersion: 0.7.0
kind: vendor.com/gpu
containerEdits:
  env: [ALL=yes, FROM=vendor]
  mounts: [{hostPath: `+data+`, containerPath: /opt/vendor/lib, options: [ro, nosuid, nodev, rbind, rprivate]}]
devices:
- name: "0"
  containerEdits:
    env: [ZERO=0]
    additionalGids: [4711, 0]
    deviceNodes:
    - {path: /dev/gpu0, hostPath: `+node(t, dir+"/node0")+`, permissions: rw, uid: 7, gid: 8, fileMode: 0o600}
    - {path: /dev/plain, hostPath: `+dir+`/node0}
    - {path: /dev/pipe, type: p}
- name: "1"
  containerEdits:
    deviceNodes: [{path: /dev/locked, type: c, major: 10, minor: 237, permissions: r}]
`)
	pod, p := a.hostPod("p")
	c := withCDI(containerConfig("c", busybox(t), "sleep", "1000"), "vendor.com/gpu=0", "vendor.com/gpu=0")
	c.Envs = []*criapi.KeyValue{{Key: "FROM", Value: []byte("pod")}}
	c.Annotations = map[string]string{"cdi.k8s.io/b": "vendor.com/gpu=1", "cdi.k8s.io/a": "vendor.com/gpu=0", "other": "x"}
	id := a.launch(pod, c, p)
	a.sh(id, "echo $ALL $FROM $ZERO", "yes vendor 0\n")
	a.sh(id, "cat /opt/vendor/lib/lib; touch /opt/vendor/lib/x 2>&1; grep -c ' /opt/vendor/lib ro,nosuid,nodev' /proc/self/mountinfo",
		"library\ntouch: /opt/vendor/lib/x: Read-only file system\n1\n")
	a.sh(id, "stat -c '%F %a %u %g %t %T' /dev/gpu0 /dev/plain /dev/pipe",
		"character special file 600 7 8 1 3\ncharacter special file 640 0 0 1 3\nfifo 666 0 0 0 0\n")
	a.sh(id, "echo x >/dev/gpu0 && echo x >/dev/plain && : </dev/locked && echo ok", "ok\n")
	a.sh(id, ": 3<>/dev/locked", "sh: can't create /dev/locked: Operation not permitted\n")
	a.sh(id, "id -G", "0 4711\n")
	log := containerConfig("main", c.Image.Image, "sh", "-c", "echo $ZERO; id -G")
	if got := readLog(t, a.exited(a.launch(pod, withCDI(log, "vendor.com/gpu=0"), p))); !strings.Contains(got, " 0\n") || !strings.Contains(got, "0 4711\n") {
		t.Errorf("the first process says %q, want its variable and its group", got)
	}
}

func TestDevicesAreReadAnewForEachContainer(t *testing.T) {
	a, dir := cdiAgent(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	wantRefusal(t, "before", a.refusal(pod, withCDI(containerConfig("c", image, "true"), "v.com/x=a"), p), "InvalidArgument", "unknown device v.com/x=a")
	spec := `{"cdiVersion":"0.6.0","kind":"v.com/x","devices":[{"name":"a","containerEdits":{"env":["V=1"]}}]}`
	writeFile(t, dir+"/x.json", spec)
	first := a.create(pod, withCDI(containerConfig("first", image, "sh", "-c", "echo V=$V"), "v.com/x=a"), p)
	writeFile(t, dir+"/x.json", strings.Replace(spec, "V=1", "V=2", 1))
	second := a.create(pod, withCDI(containerConfig("second", image, "sh", "-c", "echo V=$V"), "v.com/x=a"), p)
	if err := os.Remove(dir + "/x.json"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{first: "V=1", second: "V=2"} {
		if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		if got := readLog(t, a.exited(id)); !strings.Contains(got, want) {
			t.Errorf("log %q, want %s", got, want)
		}
	}
}

func TestDevicesThatCannotBeGiven(t *testing.T) {
	a, dir := cdiAgent(t)
	writeFile(t, dir+"/broken.yaml", "kind: [")
	writeFile(t, dir+"/wrong.json", `{"cdiVersion":"0.6.0","kind":"w.com/x","devices":[{"name":"a","containerEdits":{}}]}`)
	writeFile(t, dir+"/good.yaml", `
cdiVersion: 1.1.0
kind: v.com/x
devices:
- {name: rdt, containerEdits: {intelRdt: {closID: gold}}}
- {name: net, containerEdits: {netDevices: [{hostInterfaceName: eth7, name: eth0}]}}
- {name: gone, containerEdits: {deviceNodes: [{path: /dev/no-such}]}}
- {name: nowhere, containerEdits: {mounts: [{hostPath: /no/such, containerPath: /x}]}}
- {name: good, containerEdits: {env: [A=b]}}
`)
	pod, p := a.hostPod("p")
	image := busybox(t)
	for name, want := range map[string][]string{
		"v.com/x=none":    {"unknown device v.com/x=none", dir + "/broken.yaml: ", dir + "/wrong.json: ", dir},
		"w.com/x=a":       {"unknown device w.com/x=a", "empty device edits"},
		"v.com/x=rdt":     {`Intel RDT class "gold"`},
		"v.com/x=net":     {"network interface eth7"},
		"v.com/x=gone":    {"/dev/no-such"},
		"v.com/x=nowhere": {"mount /x: source: stat /no/such"},
		"v.com/x":         {"CDI_devices[0].name"},
	} {
		err := a.refusal(pod, withCDI(containerConfig("c", image, "true"), name), p)
		for _, text := range want {
			wantRefusal(t, name, err, "InvalidArgument", text)
		}
	}
	c := containerConfig("c", image, "true")
	c.Annotations = map[string]string{"cdi.k8s.io/plugin": "nothing"}
	wantRefusal(t, "annotation", a.refusal(pod, c, p), "InvalidArgument", `annotation cdi.k8s.io/plugin: "nothing"`)
	a.exited(a.launch(pod, withCDI(containerConfig("good", image, "true"), "v.com/x=good"), p))
}

// script writes a program for hooks.
func script(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
