package cri_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What the policy in testdata/selinux knows.
const (
	containerLabel = "system_u:system_r:container_t:"
	otherLabel     = "system_u:system_r:container_other_t:"
	fileLabel      = "system_u:object_r:container_file_t:"
	imageLabel     = "system_u:object_r:container_ro_t:s0"
	hostLabel      = "system_u:system_r:kernel_t:s0"
)

// labelling starts an agent that labels, on a kernel with the tests' policy.
func labelling(t *testing.T) *agent {
	t.Helper()
	needSELinux(t)
	return start(t, labelled()...)
}

func labelled() []string { return []string{"--enable-selinux", "--selinux-category-range", "64"} }

func needSELinux(t *testing.T) {
	t.Helper()
	if os.WriteFile("/sys/fs/selinux/context", []byte(containerLabel+"s0:c1,c2"), 0) != nil {
		t.Skip("needs a kernel with SELinux and the policy of testdata/selinux: make test-selinux has one")
	}
}

// fileLabelOf is that of a file of the node; a link counts as what it leads to.
func fileLabelOf(t *testing.T, path string) string {
	t.Helper()
	text := make([]byte, 256)
	n, err := syscall.Getxattr(path, "security.selinux", text)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return ""
	}
	return strings.TrimRight(string(text[:n]), "\x00")
}

// seen is where the node finds a file of a running container.
func (a *agent) seen(id, path string) string {
	a.t.Helper()
	return "/proc/" + strconv.Itoa(a.pid(id)) + "/root" + path
}

func (a *agent) info(id string, into any) {
	a.t.Helper()
	s, err := a.ContainerStatus(within(a.t), &criapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err == nil {
		err = json.Unmarshal([]byte(s.Info["info"]), into)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) pid(id string) int {
	a.t.Helper()
	var info struct{ PID int }
	a.info(id, &info)
	return info.PID
}

// level makes a pod's first container and tells the pod's level.
func (a *agent) level(pod, image string, p *criapi.PodSandboxConfig) (id, level string) {
	a.t.Helper()
	id = a.launch(pod, containerConfig("first", image, "sleep", "1000"), p)
	text, err := os.ReadFile("/proc/" + strconv.Itoa(a.pid(id)) + "/attr/current")
	level, ok := strings.CutPrefix(strings.TrimRight(string(text), "\x00"), containerLabel)
	if err != nil || !ok || !regexp.MustCompile(`^s0:c\d+,c\d+$`).MatchString(level) {
		a.t.Fatalf("label of a container: %q, %v; want one with a level of its own", text, err)
	}
	return id, level
}

const showLabel = "tr '\\0' '\\n' </proc/self/attr/current"

func TestContainersHaveTheLabelOfTheirPod(t *testing.T) {
	a := labelling(t)
	pod, p := a.privilegedPod("p")
	image := busybox(t)
	first, level := a.level(pod, image, p)
	other, op := a.hostPod("other")
	if _, second := a.level(other, image, op); second == level {
		t.Errorf("two pods have the level %s", level)
	}
	a.sh(first, showLabel, containerLabel+level+"\n")
	var info struct {
		SelinuxLabels struct{ Process, Mount string }
	}
	if a.info(first, &info); info.SelinuxLabels.Process != containerLabel+level || info.SelinuxLabels.Mount != fileLabel+level {
		t.Errorf("status shows %+v, want the level %s", info, level)
	}
	ask := func(o *criapi.SELinuxOption) *criapi.LinuxContainerSecurityContext {
		return &criapi.LinuxContainerSecurityContext{SelinuxOptions: o}
	}
	privileged := ask(&criapi.SELinuxOption{Type: "container_other_t"})
	privileged.Privileged = true
	for i, c := range []struct {
		what     string
		security *criapi.LinuxContainerSecurityContext
		want     string
	}{
		{"nothing", nil, containerLabel + level},
		{"empty options", ask(&criapi.SELinuxOption{}), containerLabel + level},
		{"a type", ask(&criapi.SELinuxOption{Type: "container_other_t"}), otherLabel + level},
		{"a level", ask(&criapi.SELinuxOption{Level: "s0:c1,c2"}), containerLabel + "s0:c1,c2"},
		{"a range", ask(&criapi.SELinuxOption{Level: "s0-s0:c1.c3"}), containerLabel + "s0-s0:c1.c3"},
		{"all", ask(&criapi.SELinuxOption{User: "system_u", Role: "system_r", Type: "container_other_t", Level: "s0"}), otherLabel + "s0"},
		{"no new privileges", &criapi.LinuxContainerSecurityContext{NoNewPrivs: true}, containerLabel + level},
		{"privileged", privileged, hostLabel},
	} {
		if got := a.once(pod, p, "c"+strconv.Itoa(i), image, showLabel, c.security); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	for text, o := range map[string]*criapi.SELinuxOption{
		"has no label system_u:system_r:no_such_t:s0": {Type: "no_such_t"},
		"has no label nobody_u:":                      {User: "nobody_u"},
		`level: "s0:x" is not a level`:                {Level: "s0:x"},
		`type: "a:b" is no part of a label`:           {Type: "a:b"},
	} {
		c := containerConfig("refused", image, "true")
		c.Linux.SecurityContext = ask(o)
		wantRefusal(t, text, a.refusal(pod, c, p), "InvalidArgument", text)
	}
}

func TestPodsSayWhatTheirLabelIs(t *testing.T) {
	a := labelling(t)
	c := podConfig(a, "p")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: criapi.NamespaceMode_NODE, Ipc: criapi.NamespaceMode_NODE},
		SelinuxOptions:   &criapi.SELinuxOption{Type: "container_other_t", Level: "s0:c4,c5"},
	}
	pod := a.pod(c)
	image := busybox(t)
	if got := a.once(pod, c, "same", image, showLabel, nil); got != otherLabel+"s0:c4,c5" {
		t.Errorf("label = %q", got)
	}
	a.end(9)
	a.run()
	if got := a.once(pod, c, "later", image, showLabel, nil); got != otherLabel+"s0:c4,c5" {
		t.Errorf("label of a container that a later agent made = %q", got)
	}
	c = podConfig(a, "refused")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{SelinuxOptions: &criapi.SELinuxOption{Type: "no_such_t"}}
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: c})
	wantRefusal(t, "a type", err, "InvalidArgument", "has no label system_u:system_r:no_such_t:s0")
	plain := start(t)
	_, err = plain.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: c})
	wantRefusal(t, "not enabled", err, "InvalidArgument", "set enable_selinux in its configuration")
	pod, c = plain.hostPod("plain")
	if got := plain.once(pod, c, "c", image, showLabel, nil); got != hostLabel {
		t.Errorf("label where it is not enabled = %q", got)
	}
}
