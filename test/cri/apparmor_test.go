package cri_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func hasAppArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(text), "Y")
}

// loadProfiles has the kernel learn profiles for the test's duration.
func loadProfiles(t *testing.T, text string) {
	t.Helper()
	file := writeFile(t, filepath.Join(t.TempDir(), "profiles"), text)
	parser := func(flags string) {
		if out, err := exec.Command("apparmor_parser", flags, file).CombinedOutput(); err != nil {
			t.Errorf("apparmor_parser %s: %v\n%s", flags, err, out)
		}
	}
	parser("-Kr")
	t.Cleanup(func() { parser("-R") })
}

func armor(kind criapi.SecurityProfile_ProfileType, ref string) *criapi.LinuxContainerSecurityContext {
	return &criapi.LinuxContainerSecurityContext{Apparmor: &criapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}}
}

func TestAppArmorProfilesAreTaken(t *testing.T) {
	if !hasAppArmor() {
		t.Skip("needs a kernel with AppArmor: make test-v2 has one")
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		t.Skip("needs the package apparmor")
	}
	loadProfiles(t, `
profile siflet-test-deny-write flags=(attach_disconnected) {
  capability,
  network,
  signal,
  ptrace,
  mount,
  pivot_root,
  file,
  deny /** w,
}
`)
	a := start(t)
	pod, p := a.privilegedPod("p")
	image := busybox(t)
	const deny, show = "siflet-test-deny-write", "cat /proc/self/attr/current; (touch /tmp/x 2>&1 && echo wrote) | grep wrote"
	old := func(profile string, s *criapi.LinuxContainerSecurityContext) *criapi.LinuxContainerSecurityContext {
		s.ApparmorProfile = profile //nolint:staticcheck // old clients
		return s
	}
	privileged := func(s *criapi.LinuxContainerSecurityContext) *criapi.LinuxContainerSecurityContext {
		s.Privileged = true
		return s
	}
	nothing := func() *criapi.LinuxContainerSecurityContext { return &criapi.LinuxContainerSecurityContext{} }
	const byDefault, denied = "siflet-default (enforce)\nwrote", deny + " (enforce)"
	for i, c := range []struct {
		what     string
		security *criapi.LinuxContainerSecurityContext
		want     string
	}{
		{"nothing", nothing(), byDefault},
		{"the default", armor(criapi.SecurityProfile_RuntimeDefault, ""), byDefault},
		{"the default, by the old field", old("runtime/default", nothing()), byDefault},
		{"unconfined", armor(criapi.SecurityProfile_Unconfined, ""), "unconfined\nwrote"},
		{"one of the node's", armor(criapi.SecurityProfile_Localhost, deny), denied},
		{"one of the node's, with a prefix", armor(criapi.SecurityProfile_Localhost, "localhost/"+deny), denied},
		{"one of the node's, by the old field", old("localhost/"+deny, nothing()), denied},
		{"both fields", old("localhost/no-such-profile", armor(criapi.SecurityProfile_Localhost, deny)), denied},
		{"privileged", privileged(nothing()), "unconfined\nwrote"},
		{"privileged, with the default", privileged(armor(criapi.SecurityProfile_RuntimeDefault, "")), "unconfined\nwrote"},
		{"privileged, with one of the node's", privileged(armor(criapi.SecurityProfile_Localhost, deny)), denied},
		{"no new privileges", &criapi.LinuxContainerSecurityContext{NoNewPrivs: true}, byDefault},
	} {
		if got := a.once(pod, p, "c"+string(rune('a'+i)), image, show, c.security); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	c := containerConfig("exec", image, "sleep", "1000")
	a.sh(a.launch(pod, c, p), "cat /proc/self/attr/current; mount -t tmpfs x /mnt 2>/dev/null || echo no mount",
		"siflet-default (enforce)\nno mount\n")
	for what, s := range map[string]*criapi.LinuxContainerSecurityContext{
		"unloaded":                   armor(criapi.SecurityProfile_Localhost, "no-such-profile"),
		"unloaded, by the old field": old("localhost/no-such-profile", nothing()),
		"unloaded, by both fields":   old("localhost/no-such-profile", armor(criapi.SecurityProfile_Localhost, "no-such-profile")),
		"a part of a name":           armor(criapi.SecurityProfile_Localhost, "siflet-test-deny"),
	} {
		c := containerConfig("refused", image, "true")
		c.Linux.SecurityContext = s
		wantRefusal(t, what, a.refusal(pod, c, p), "InvalidArgument", "is not loaded on this node")
	}
}

func TestAppArmorProfilesThatAreRefused(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	cases := map[string]*criapi.LinuxContainerSecurityContext{
		"localhost_ref":               armor(criapi.SecurityProfile_Localhost, ""),
		"profile_type is not Localho": armor(criapi.SecurityProfile_Unconfined, "x"),
		"unknown profile":             {ApparmorProfile: "mine"},
	}
	if !hasAppArmor() {
		cases[`profile "localhost/x": this node's kernel runs without AppArmor`] = armor(criapi.SecurityProfile_Localhost, "x")
		cases[`profile "runtime/default": this node's kernel runs without AppArmor`] = armor(criapi.SecurityProfile_RuntimeDefault, "")
	}
	for text, s := range cases {
		c := containerConfig("refused", image, "true")
		c.Linux.SecurityContext = s
		wantRefusal(t, text, a.refusal(pod, c, p), "InvalidArgument", text)
	}
}
