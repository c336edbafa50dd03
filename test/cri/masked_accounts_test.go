package cri_test

import (
	"strconv"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

func appImage(t *testing.T) string {
	t.Helper()
	return siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1001:\nextra:x:50000:app\n",
	}})
}

// masksAccounts sees that containers run as app, and what is executed in them, though
// the accounts are hidden from both.
func (a *agent) masksAccounts(pod string, p *criapi.PodSandboxConfig, image string) {
	a.t.Helper()
	const script = "echo $(id -u) $(id -g) $(grep Groups: /proc/self/status | cut -f2) $(cat /etc/passwd 2>/dev/null | wc -c)"
	const want = "1000 1001 1001 50000 0"
	for i, security := range []*criapi.LinuxContainerSecurityContext{
		{RunAsUsername: "app", MaskedPaths: []string{"/etc/passwd", "/etc/group"}},
		{RunAsUser: &criapi.Int64Value{Value: 1000}, MaskedPaths: []string{"/etc/passwd"}, ReadonlyPaths: []string{"/etc"}},
		{RunAsUsername: "app", MaskedPaths: []string{"/etc", "/etc/passwd"}},
		{RunAsUsername: "app", MaskedPaths: []string{"/etc/passwd", "/etc"}},
	} {
		security.NamespaceOptions = p.Linux.SecurityContext.NamespaceOptions
		c := containerConfig("c"+strconv.Itoa(i), image, "sh", "-c", script+"; sleep 1000")
		c.Linux.SecurityContext = security
		id := a.launch(pod, c, p)
		eventually(a.t, "what the container says", func() bool { return strings.HasSuffix(readLog(a.t, a.status(id)), "\n") })
		if _, got, _ := strings.Cut(readLog(a.t, a.status(id)), " F "); strings.TrimSpace(got) != want {
			a.t.Errorf("masked %v: %q, want %q", security.MaskedPaths, got, want)
		}
		out := a.execSync(id, "sh", "-c", script)
		if got := strings.TrimSpace(string(out.Stdout)); got != want {
			a.t.Errorf("masked %v: exec: %q, want %q; %s", security.MaskedPaths, got, want, out.Stderr)
		}
	}
}

func TestUsersAreFoundBehindMasks(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	a.masksAccounts(pod, p, appImage(t))
}

func TestUsersAreFoundBehindMasksInUserNamespaces(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	a.masksAccounts(pod, p, appImage(t))
}

func TestUsersAreFoundBehindMasksOfADelegatedRuntime(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", appImage(t), "sleep", "1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUsername: "app", MaskedPaths: []string{"/etc/passwd", "/etc/group"}}
	out := a.execSync(a.launch(pod, c, p), "sh", "-c", "id -u; id -g; wc -c </etc/passwd")
	if got := strings.Join(strings.Fields(string(out.Stdout)), " "); got != "1000 1001 0" {
		t.Errorf("exec: %q; %s", got, out.Stderr)
	}
}
