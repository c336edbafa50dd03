package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// once runs a shell command in a container of its own and returns what it wrote.
func (a *agent) once(pod string, p *criapi.PodSandboxConfig, name, image, command string, s *criapi.LinuxContainerSecurityContext) string {
	a.t.Helper()
	c := containerConfig(name, image, "sh", "-c", command)
	c.Linux.SecurityContext = s
	status := a.exited(a.launch(pod, c, p))
	var out strings.Builder
	for line := range strings.Lines(readLog(a.t, status)) {
		_, text, _ := strings.Cut(line, " F ")
		out.WriteString(text)
	}
	return strings.TrimSpace(out.String())
}

func TestUsersAndGroupsAreThoseAskedFor(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1001:\nextra:x:50000:app\nother:x:50001:app,root\n",
	}})
	number := func(n int64) *criapi.Int64Value { return &criapi.Int64Value{Value: n} }
	const strict = criapi.SupplementalGroupsPolicy_Strict
	for i, c := range []struct {
		what     string
		security *criapi.LinuxContainerSecurityContext
		want     string // uid gid groups
	}{
		{"nothing", &criapi.LinuxContainerSecurityContext{}, "0 0 0 50001"},
		{"user", &criapi.LinuxContainerSecurityContext{RunAsUser: number(1000)}, "1000 1001 1001 50000 50001"},
		{"unknown user", &criapi.LinuxContainerSecurityContext{RunAsUser: number(4711)}, "4711 0 0"},
		{"name", &criapi.LinuxContainerSecurityContext{RunAsUsername: "app"}, "1000 1001 1001 50000 50001"},
		{"user and group", &criapi.LinuxContainerSecurityContext{RunAsUser: number(1000), RunAsGroup: number(7)}, "1000 7 7 50000 50001"},
		{"name and group", &criapi.LinuxContainerSecurityContext{RunAsUsername: "app", RunAsGroup: number(7)}, "1000 7 7 50000 50001"},
		{"merged", &criapi.LinuxContainerSecurityContext{RunAsUser: number(1000), SupplementalGroups: []int64{9, 50000}}, "1000 1001 1001 9 50000 50001"},
		{"strict", &criapi.LinuxContainerSecurityContext{
			RunAsUser: number(1000), SupplementalGroups: []int64{9, 8}, SupplementalGroupsPolicy: strict,
		}, "1000 1001 1001 9 8"},
		{"strict alone", &criapi.LinuxContainerSecurityContext{RunAsUsername: "app", SupplementalGroupsPolicy: strict}, "1000 1001 1001"},
	} {
		got := a.once(pod, p, "c"+strconv.Itoa(i), image, "echo $(id -u) $(id -g) $(grep Groups: /proc/self/status | cut -f2)", c.security)
		if groups(got) != groups(c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	c := containerConfig("status", image, "sleep", "1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: number(1000), SupplementalGroups: []int64{9}}
	u := a.status(a.launch(pod, c, p)).GetUser().GetLinux()
	if u.GetUid() != 1000 || u.GetGid() != 1001 || !slices.Equal(u.GetSupplementalGroups(), []int64{9, 1001, 50000, 50001}) {
		t.Errorf("status says %v", u)
	}
}

// groups sorts what follows the user and the group, which come in any order.
func groups(line string) string {
	f := strings.Fields(line)
	if len(f) > 2 {
		slices.Sort(f[2:])
	}
	return strings.Join(f, " ")
}

// capSets reads the sets from a /proc/PID/status.
func capSets(t *testing.T, text string) map[string]uint64 {
	t.Helper()
	sets := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && strings.HasPrefix(name, "Cap") {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			sets[name] = n
		}
	}
	return sets
}

func TestCapabilitiesAreThoseAskedFor(t *testing.T) {
	a := start(t)
	pod, p := a.privilegedPod("p")
	image := busybox(t)
	const chown, netAdmin, netRaw, sysAdmin, usual = 1 << 0, 1 << 12, 1 << 13, 1 << 21, 0xa80425fb
	caps := func(add, drop, ambient []string) *criapi.LinuxContainerSecurityContext {
		return &criapi.LinuxContainerSecurityContext{Capabilities: &criapi.Capability{
			AddCapabilities: add, DropCapabilities: drop, AddAmbientCapabilities: ambient,
		}}
	}
	as := func(s *criapi.LinuxContainerSecurityContext, uid int64) *criapi.LinuxContainerSecurityContext {
		s.RunAsUser = &criapi.Int64Value{Value: uid}
		return s
	}
	privileged := caps(nil, []string{"ALL"}, nil)
	privileged.Privileged = true
	everything := capSets(t, a.once(pod, p, "all", image, "grep Cap /proc/self/status", privileged))["CapBnd"]
	if everything&sysAdmin == 0 || everything&netRaw == 0 {
		t.Errorf("privileged: bounding set %#x, want all, whatever is dropped", everything)
	}
	for i, c := range []struct {
		what                        string
		security                    *criapi.LinuxContainerSecurityContext
		bounding, effective, passed uint64
	}{
		{"nothing", caps(nil, nil, nil), usual, usual, 0},
		{"add", caps([]string{"NET_ADMIN"}, nil, nil), usual | netAdmin, usual | netAdmin, 0},
		{"drop", caps(nil, []string{"chown", "CAP_NET_RAW"}, nil), usual &^ (chown | netRaw), usual &^ (chown | netRaw), 0},
		{"drop all", caps(nil, []string{"ALL"}, nil), 0, 0, 0},
		{"drop all but one", caps([]string{"NET_ADMIN"}, []string{"ALL"}, nil), netAdmin, netAdmin, 0},
		{"all but one", caps([]string{"ALL"}, []string{"CHOWN"}, nil), everything &^ chown, everything &^ chown, 0},
		{"add what is dropped", caps([]string{"SYS_ADMIN"}, []string{"SYS_ADMIN"}, nil), usual, usual, 0},
		{"another user", as(caps([]string{"NET_ADMIN"}, nil, nil), 1000), usual | netAdmin, 0, 0},
		{"ambient", as(caps(nil, []string{"ALL"}, []string{"NET_ADMIN"}), 1000), netAdmin, netAdmin, netAdmin},
	} {
		got := capSets(t, a.once(pod, p, "c"+strconv.Itoa(i), image, "grep Cap /proc/self/status", c.security))
		want := map[string]uint64{
			"CapInh": c.passed, "CapPrm": c.effective, "CapEff": c.effective, "CapBnd": c.bounding, "CapAmb": c.passed,
		}
		if fmt.Sprintf("%#x", got) != fmt.Sprintf("%#x", want) {
			t.Errorf("%s: %#x, want %#x", c.what, got, want)
		}
	}
}

func TestPathsAndPrivilegesOfAContainer(t *testing.T) {
	a := start(t)
	pod, p := a.privilegedPod("p")
	image := busybox(t)
	for i, c := range []struct {
		what, command string
		security      *criapi.LinuxContainerSecurityContext
		want          string
	}{
		{"new privileges", "grep NoNewPrivs /proc/self/status | cut -f2", &criapi.LinuxContainerSecurityContext{}, "0"},
		{"no new privileges", "grep NoNewPrivs /proc/self/status | cut -f2", &criapi.LinuxContainerSecurityContext{NoNewPrivs: true}, "1"},
		{"read-only root", "touch /x 2>&1; touch /dev/shm/x && echo shm", &criapi.LinuxContainerSecurityContext{ReadonlyRootfs: true}, "touch: /x: Read-only file system\nshm"},
		{"masked", "wc -c </proc/uptime; ls /proc/tty; ls /proc/no-such 2>/dev/null", &criapi.LinuxContainerSecurityContext{
			MaskedPaths: []string{"/proc/uptime", "/proc/tty", "/proc/no-such"},
		}, "0"},
		{"read-only", "echo 0 2>&1 >/proc/self/oom_score_adj; echo x 2>&1 >/proc/sys/kernel/domainname", &criapi.LinuxContainerSecurityContext{
			ReadonlyPaths: []string{"/proc/sys"},
		}, "sh: can't create /proc/sys/kernel/domainname: Read-only file system"},
		{"all shown", "test $(wc -c </proc/uptime) != 0 && test -w /proc/sys/kernel/domainname && echo yes", &criapi.LinuxContainerSecurityContext{}, "yes"},
		{
			"privileged", "test $(wc -c </proc/uptime) != 0 && test -w /proc/sys/kernel/domainname && grep -c ' /sys sysfs rw' /proc/mounts; grep Seccomp: /proc/self/status | cut -f2",
			&criapi.LinuxContainerSecurityContext{
				Privileged: true, MaskedPaths: []string{"/proc/uptime"}, ReadonlyPaths: []string{"/proc/sys"},
				Seccomp: &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_RuntimeDefault},
			}, "1\n0",
		},
	} {
		if got := a.once(pod, p, "c"+strconv.Itoa(i), image, c.command, c.security); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestProgramsOfTheImageRaisePrivilegesUnlessForbidden(t *testing.T) {
	if goruntime.GOARCH != "amd64" {
		t.Skip("needs x86-64: the program that asks is of that machine")
	}
	const geteuid, of1000 = 107, int32(-1000 & 0xff)
	path := filepath.Join(t.TempDir(), "euid")
	caller(t, path, false, geteuid, 0)
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entry := registrytest.File("euid", string(program))
	entry.Mode = 0o4755
	s := registrytest.New(t)
	s.Push(t, "app:1", registrytest.Image(t, v1.Config{Cmd: []string{"sleep", "1000"}}, busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, entry)))
	a := start(t)
	id := a.mustPull(s.Host + "/app:1")
	pod, p := a.hostPod("p")
	for forbidden, want := range map[bool]int32{false: 0, true: of1000} {
		c := containerConfig(strconv.FormatBool(forbidden), id)
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1000}, NoNewPrivs: forbidden}
		if got := a.execSync(a.launch(pod, c, p), "/euid"); got.ExitCode != want {
			t.Errorf("no new privileges %t: exit code %d, want %d", forbidden, got.ExitCode, want)
		}
	}
}
