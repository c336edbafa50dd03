package cri_test

import (
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

// killing is a profile that answers some calls so, and allows the rest.
func killing(action string, calls ...string) string {
	return `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["` + strings.Join(calls, `", "`) + `"], "action": "` + action + `"}]}`
}

// A call that kills only the thread that makes it leaves the other threads of the
// launch stage, which wait for ever.
func TestStartKilledByItsSeccompProfileFailsAtOnce(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	native := siftest.Build(t, siftest.Options{Busybox: true, Files: map[string]string{".singularity.d/runscript": "#!/bin/sh\n"}})
	for name, c := range map[string]struct {
		image, text string
		noNewPrivs  bool
	}{
		"exec":               {busybox(t), killing("SCMP_ACT_KILL", "execve", "execveat"), false},
		"exec-no-new-privs":  {busybox(t), killing("SCMP_ACT_KILL_THREAD", "execve", "execveat"), true},
		"exec-process":       {busybox(t), killing("SCMP_ACT_KILL_PROCESS", "execve", "execveat"), false},
		"privileges":         {busybox(t), killing("SCMP_ACT_KILL", "capset"), false},
		"action":             {native, killing("SCMP_ACT_KILL", "execve", "execveat"), false},
		"action-has-no-exec": {native, killing("SCMP_ACT_KILL", "execve"), false},
	} {
		profile := writeFile(t, filepath.Join(t.TempDir(), "profile.json"), c.text)
		config := containerConfig(name, c.image, "sleep", "1000")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NoNewPrivs: c.noNewPrivs, Seccomp: localProfile(profile)}
		id := a.create(pod, config, p)
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
		wantRefusal(t, name, err, "InvalidArgument", "the seccomp profile localhost/"+profile+" killed the process")
		a.exited(id)
		if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Errorf("%s: RemoveContainer: %v", name, err)
		}
	}
}

func localProfile(file string) *criapi.SecurityProfile {
	return &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: file}
}

// An exec is under what the profile's file says now.
func TestExecKilledByItsSeccompProfileFailsAtOnce(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	profile := writeFile(t, filepath.Join(t.TempDir(), "profile.json"), killing("SCMP_ACT_KILL", "getpgid"))
	config := containerConfig("c", busybox(t), "sleep", "1000")
	config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Seccomp: localProfile(profile)}
	id := a.launch(pod, config, p)
	for _, action := range []string{"SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS"} {
		writeFile(t, profile, killing(action, "execve"))
		_, err := a.ExecSync(within(t), &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}})
		wantRefusal(t, action, err, "InvalidArgument", "the seccomp profile localhost/"+profile+" killed the process")
	}
	writeFile(t, profile, killing("SCMP_ACT_KILL", "getpgid"))
	a.sh(id, "echo on", "on\n")
}

func TestStartKilledByItsSeccompProfileFailsInAUserNamespace(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	profile := writeFile(t, filepath.Join(t.TempDir(), "profile.json"), killing("SCMP_ACT_KILL", "execve"))
	config := mappedContainer(p, "c", busybox(t))
	config.Linux.SecurityContext.Seccomp = localProfile(profile)
	id := a.create(pod, config, p)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	wantRefusal(t, "start", err, "InvalidArgument", "the seccomp profile localhost/"+profile+" killed the process")
}
