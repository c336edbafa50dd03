package cri_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type ociState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PID         int               `json:"pid"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
}

// hooksSpec describes a device with hooks: kind -> path, more as in JSON.
func hooksSpec(t *testing.T, dir string, hooks ...string) {
	t.Helper()
	writeFile(t, dir+"/hooks.yaml", "cdiVersion: 0.6.0\nkind: v.com/x\ndevices:\n- name: a\n  containerEdits:\n    hooks: ["+strings.Join(hooks, ", ")+"]\n")
}

func TestHooksRunWhenAndWhereTheyShould(t *testing.T) {
	a, dir := cdiAgent(t)
	out := t.TempDir()
	record := `echo "$HOOK $1 $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/pid)" >>` + out + `/order
cat >` + out + `/$1.state
if [ "$1" = createContainer ]; then pwd >` + out + `/cwd; ls /sys >` + out + `/sys
root=$(grep -o '"bundle":"[^"]*"' ` + out + `/$1.state | cut -d'"' -f4)/rootfs
grep -q '"root":{"path":"rootfs"' $root/../config.json && echo linked >$root/etc/made && mkdir -p $root/opt && mount -t tmpfs x $root/opt && touch $root/opt/mounted; fi`
	hook := script(t, "hook", record)
	var hooks []string
	for _, kind := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		hooks = append(hooks, fmt.Sprintf("{hookName: %s, path: %s, args: [hook, %s], env: [HOOK=1, PATH=/bin:/usr/bin], timeout: 10}", kind, hook, kind))
	}
	hooks = append(hooks, `{hookName: startContainer, path: /bin/sh, args: [sh, -c, "cat >/tmp/state; cat /etc/made; id -u >/tmp/user; ls /opt >/tmp/opt"]}`)
	hooksSpec(t, dir, hooks...)
	pod, p := a.hostPod("p")
	c := withCDI(containerConfig("c", busybox(t), "sh", "-c", "cat /tmp/user /tmp/opt /etc/made; ls -A /sys/kernel >/dev/null && sleep 1000"), "v.com/x=a")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1000}}
	id := a.launch(pod, c, p)
	pid := 0
	for kind, status := range map[string]string{"prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "poststart": "running"} {
		var s ociState
		text, err := os.ReadFile(out + "/" + kind + ".state")
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil || s.Version == "" || s.ID != id || s.Status != status || s.PID == 0 || s.Bundle == "" || s.Annotations["note"] != "c" {
			t.Errorf("%s: state %s, %v; want container %s, %s", kind, text, err, id, status)
		}
		switch {
		case kind == "createContainer" && s.PID != 1 && s.PID == pid: // its number in the container's namespace
			t.Errorf("%s: pid %d", kind, s.PID)
		case kind == "poststart":
			pid = s.PID
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		t.Errorf("the poststart hook was told of process %d: %v", pid, err)
	}
	a.sh(id, "cat /tmp/user /tmp/opt /etc/made; grep -c created /tmp/state", "1000\nmounted\nlinked\n1\n")
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	order, err := os.ReadFile(out + "/order")
	if err != nil {
		t.Fatal(err)
	}
	mine := func(kind string) string { s, _ := os.Readlink("/proc/self/ns/" + kind); return s }
	var kinds []string
	for line := range strings.Lines(string(order)) {
		f := strings.Fields(line)
		kinds = append(kinds, f[1])
		if outside := f[2] == mine("mnt"); f[0] != "1" || outside == (f[1] == "createContainer") {
			t.Errorf("hook ran in the wrong place: %s", line)
		}
	}
	if got := strings.Join(kinds, " "); got != "prestart createRuntime createContainer poststart poststop" {
		t.Errorf("hooks ran in the order %s", got)
	}
	if text, err := os.ReadFile(out + "/poststop.state"); err != nil || !strings.Contains(string(text), `"stopped"`) {
		t.Errorf("poststop's state = %s, %v", text, err)
	}
	if text, err := os.ReadFile(out + "/sys"); err != nil || !strings.Contains(string(text), "kernel") {
		t.Errorf("a hook sees %q in /sys, %v; want the host's", text, err)
	}
}

func TestHooksThatFailKeepTheContainerFromRunning(t *testing.T) {
	a, dir := cdiAgent(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	failing := script(t, "failing", "echo because >&2; exit 3")
	slow := script(t, "slow", "sleep 60")
	killer := script(t, "killer", `kill -9 $(sed 's/.*"pid":\([0-9]*\).*/\1/')`)
	for _, c := range []struct{ hook, want string }{
		{"{hookName: createRuntime, path: " + failing + "}", "run createRuntime hook 1: " + failing + " ended with exit code 3: because"},
		{"{hookName: createContainer, path: " + failing + "}", "run createContainer hook 1: " + failing + " ended with exit code 3: because"},
		{"{hookName: startContainer, path: /bin/false}", "run startContainer hook 1: /bin/false ended with exit code 1"},
		{"{hookName: poststart, path: " + failing + "}", "run poststart hook 1: "},
		{"{hookName: prestart, path: /no/such/hook}", "run prestart hook 1: run /no/such/hook: no such file"},
		{"{hookName: createRuntime, path: " + slow + ", timeout: 1}", slow + " did not end within 1s"},
		{"{hookName: createRuntime, path: " + killer + "}", "the stage was killed"},
		{"{hookName: createContainer, path: " + slow + ", timeout: 1}", slow + " did not end within 1s"},
	} {
		done := dir + "/done"
		hooksSpec(t, dir, c.hook, "{hookName: poststop, path: /bin/touch, args: [touch, "+done+"]}")
		made := a.create(pod, withCDI(containerConfig("c", image, "sleep", "1000"), "v.com/x=a"), p)
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.hook, err, c.want)
		}
		if s := a.exited(made); !strings.Contains(c.hook, "poststart") && !strings.Contains(s.Message, c.want) {
			t.Errorf("%s: status %v", c.hook, s)
		}
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: made}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(done); err != nil {
			t.Errorf("%s: the poststop hook did not run: %v", c.hook, err)
		}
	}
}
