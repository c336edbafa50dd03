package cri_test

import (
	"os"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// shellFiles lists what the shell that it runs in has open; ls would have more.
const shellFiles = `for f in /proc/$$/fd/*; do readlink $f >/dev/null && echo ${f##*/}; done`

// TestContainersInheritNothingOfTheNode is about what a launch stage, a hook or a
// runtime has open while it makes a container: a way out, were it still there.
func TestContainersInheritNothingOfTheNode(t *testing.T) {
	const stdio = "0 1 2"
	listed := func(text string) string {
		var out []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, "No such file or directory") {
				continue // it was there for the listing alone
			}
			fields := strings.Fields(line)
			out = append(out, fields[len(fields)-1])
		}
		return strings.Join(out, " ")
	}
	check := func(t *testing.T, a *agent, pod string, p *criapi.PodSandboxConfig, c *criapi.ContainerConfig) {
		t.Helper()
		c.Command = []string{"sh", "-c", shellFiles + "; sleep 1000"}
		id := a.launch(pod, c, p)
		eventually(t, "the log", func() bool { return strings.Contains(readLog(t, a.status(id)), " 2\n") })
		if got := listed(readLog(t, a.status(id))); got != stdio {
			t.Errorf("%s has descriptors %q, want %q", c.Metadata.Name, got, stdio)
		}
		if got := listed(string(a.execSync(id, "sh", "-c", shellFiles).Stdout)); got != stdio {
			t.Errorf("a command in %s has descriptors %q, want %q", c.Metadata.Name, got, stdio)
		}
	}
	t.Run("plain", func(t *testing.T) {
		a := start(t)
		pod, p := a.hostPod("p")
		check(t, a, pod, p, containerConfig("c", busybox(t)))
	})
	t.Run("privileged", func(t *testing.T) {
		a := start(t)
		p := podConfig(a, "p")
		p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{Privileged: true}
		c := containerConfig("c", busybox(t))
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Privileged: true}
		check(t, a, a.pod(p), p, c)
	})
	t.Run("user namespace", func(t *testing.T) {
		a := start(t)
		a.mapsUsers()
		pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
		check(t, a, pod, p, mappedContainer(p, "c", busybox(t)))
	})
	t.Run("hooks", func(t *testing.T) {
		a, dir := cdiAgent(t)
		out := t.TempDir() + "/open"
		hook := script(t, "hook", "ls /proc/self/fd | tr '\\n' ' ' >>"+out+"; echo >>"+out)
		hooksSpec(t, dir, "{hookName: createRuntime, path: "+hook+"}", "{hookName: createContainer, path: "+hook+"}")
		pod, p := a.hostPod("p")
		check(t, a, pod, p, withCDI(containerConfig("c", busybox(t)), "v.com/x=a"))
		text, err := os.ReadFile(out)
		if err != nil || strings.Count(string(text), "0 1 2 3 \n") != 2 { // 3 is what ls reads
			t.Errorf("hooks have descriptors %q, %v", text, err)
		}
	})
	t.Run("delegated", func(t *testing.T) {
		needCrun(t)
		out := t.TempDir() + "/open"
		runtime := script(t, "runtime", "ls -l /proc/self/fd >>"+out+"\nexec "+crun+` "$@"`)
		a := delegating(t, runtime)
		p := podConfig(a, "p")
		pod := a.handledPod("p", "other", p)
		check(t, a, pod, p, containerConfig("c", busybox(t)))
		text, err := os.ReadFile(out)
		// It passes on nothing of this to the container, but may have helpers that stay.
		if err != nil || strings.Contains(string(text), "memfd:program") || strings.Contains(string(text), "mnt:") || strings.Contains(string(text), "socket:") {
			t.Errorf("the runtime has descriptors of the launch stage, or none at all:\n%s%v", text, err)
		}
	})
}
