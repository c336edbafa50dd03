package cri_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// caller is a program that makes one system call and ends with the error number
// it got, or 0. It is of i386 if narrow, else of x86-64.
func caller(t *testing.T, name string, narrow bool, number, arg uint32) {
	t.Helper()
	move := func(register byte, value uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{register}, value)
	}
	const eax, ebx, edi, exit386, exitGroup = 0xb8, 0xbb, 0xbf, 1, 231
	code := bytes.Join([][]byte{
		move(eax, number), move(edi, arg), {0x31, 0xf6, 0x31, 0xd2}, {0x0f, 0x05}, // xor esi, edx; syscall
		{0xf7, 0xd8, 0x89, 0xc7}, move(eax, exitGroup), {0x0f, 0x05}, // neg eax; mov edi, eax
	}, nil)
	if narrow {
		code = bytes.Join([][]byte{
			move(eax, number), move(ebx, arg), {0x31, 0xc9, 0x31, 0xd2}, {0xcd, 0x80}, // xor ecx, edx; int 0x80
			{0xf7, 0xd8, 0x89, 0xc3}, move(eax, exit386), {0xcd, 0x80}, // neg eax; mov ebx, eax
		}, nil)
	}
	const base, load, executable = 0x400000, 1, 5
	var out bytes.Buffer
	write := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if narrow {
		const header = 52 + 32
		write([]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), uint16(2), uint16(3), uint32(1),
			uint32(base+header), uint32(52), uint32(0), uint32(0), uint16(52), uint16(32), uint16(1), [3]uint16{},
			uint32(load), uint32(0), uint32(base), uint32(base), uint32(header+len(code)), uint32(header+len(code)), uint32(executable), uint32(4096))
	} else {
		const header = 64 + 56
		write([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), uint16(2), uint16(62), uint32(1),
			uint64(base+header), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), [3]uint16{},
			uint32(load), uint32(executable), uint64(0), uint64(base), uint64(base), uint64(header+len(code)), uint64(header+len(code)), uint64(4096))
	}
	write(code)
	if err := os.WriteFile(name, out.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Numbers of calls that are the same wherever they are made and harm nobody.
const (
	priorityMax, priorityMin, personality, addKey = 146, 147, 135, 248
	priorityMax386, priorityMin386                = 159, 160
	getpgid, getsid                               = 121, 124
	x32                                           = 0x40000000
)

// filtered starts a container under a profile, with programs that call.
func filtered(t *testing.T, a *agent, profile *criapi.SecurityProfile) (string, func(what string, narrow bool, number, arg uint32, want int32)) {
	t.Helper()
	if goruntime.GOARCH != "amd64" {
		t.Skip("needs x86-64: the programs that call are of that machine")
	}
	dir := t.TempDir()
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Mounts = []*criapi.Mount{{ContainerPath: "/calls", HostPath: dir, Readonly: true}}
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Seccomp: profile}
	id := a.launch(pod, c, p)
	return id, func(what string, narrow bool, number, arg uint32, want int32) {
		t.Helper()
		caller(t, filepath.Join(dir, "call"), narrow, number, arg)
		if got := a.execSync(id, "/calls/call"); got.ExitCode != want {
			t.Errorf("%s: %d, want %d", what, got.ExitCode, want)
		}
		if err := os.Remove(filepath.Join(dir, "call")); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	eperm, enosys = 1, 38
	badCall       = 128 + 31 // SIGSYS
)

// has386 reports whether the kernel runs programs of i386.
func has386() bool {
	text, err := os.ReadFile("/proc/kallsyms")
	return err == nil && strings.Contains(string(text), "ia32_sys_call")
}

func TestSeccompProfilesOfTheNode(t *testing.T) {
	a := start(t)
	profile := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(profile, []byte(`{
		"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
		"syscalls": [
			{"names": ["sched_get_priority_max"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
			{"names": ["sched_get_priority_min"], "action": "SCMP_ACT_ERRNO"},
			{"names": ["getpgid"], "action": "SCMP_ACT_KILL_PROCESS"},
			{"names": ["getsid"], "action": "SCMP_ACT_TRAP"},
			{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
				"args": [{"index": 0, "value": 4294967040, "valueTwo": 256, "op": "SCMP_CMP_MASKED_EQ"}]},
			{"names": ["a_call_of_2040"], "action": "SCMP_ACT_KILL"}
		]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	id, call := filtered(t, a, &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: profile})
	a.sh(id, "grep Seccomp: /proc/self/status | cut -f2", "2\n")
	call("an errno", false, priorityMax, 0, 77)
	call("the usual errno", false, priorityMin, 0, eperm)
	call("kill", false, getpgid, 0, badCall)
	call("trap", false, getsid, 0, badCall)
	call("an argument that matches", false, personality, 0x100, 5)
	call("an argument that does not", false, personality, 0xffffffff, 0)
	call("x32, which the profile does not name", false, x32|priorityMax, 0, badCall)
	if has386() {
		call("an errno, of i386", true, priorityMax386, 0, 77)
		call("the usual errno, of i386", true, priorityMin386, 0, eperm)
	}
}

func TestSeccompDefaultProfile(t *testing.T) {
	a := start(t)
	_, call := filtered(t, a, &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_RuntimeDefault})
	call("what is allowed", false, priorityMax, 0, 0)
	call("what is not", false, addKey, 0, eperm)
	call("a personality", false, personality, 1, eperm)
	call("a call of the future", false, 9999, 0, enosys)
	call("of x32", false, x32|9999, 0, enosys)
	if has386() {
		call("of i386", true, 9999, 0, enosys)
		call("what is allowed, of i386", true, priorityMax386, 0, 0)
	}
}

func TestSeccompUnconfined(t *testing.T) {
	a := start(t)
	id, call := filtered(t, a, &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Unconfined})
	a.sh(id, "grep Seccomp: /proc/self/status | cut -f2", "0\n")
	call("a personality", false, personality, 0x20000, 0)
}

func TestSeccompFollowsNothingOldNamesAndPrivilege(t *testing.T) {
	a := start(t)
	pod, p := a.privilegedPod("filtered")
	image := busybox(t)
	profile := writeFile(t, filepath.Join(t.TempDir(), "profile.json"),
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}]}`)
	local := &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: profile}
	const command = "grep Seccomp: /proc/self/status | cut -f2; hostname $(hostname) 2>/dev/null && echo named || echo not named"
	for name, c := range map[string]struct {
		security *criapi.LinuxContainerSecurityContext
		want     string
	}{
		"nothing":     {&criapi.LinuxContainerSecurityContext{}, "0\nnamed"},
		"profile":     {&criapi.LinuxContainerSecurityContext{Seccomp: local}, "2\nnot named"},
		"privileged":  {&criapi.LinuxContainerSecurityContext{Seccomp: local, Privileged: true}, "0\nnamed"},
		"unconfined":  {&criapi.LinuxContainerSecurityContext{SeccompProfilePath: "unconfined"}, "0\nnamed"},                     //nolint:staticcheck // old clients
		"default":     {&criapi.LinuxContainerSecurityContext{SeccompProfilePath: "runtime/default"}, "2\nnamed"},                //nolint:staticcheck // old clients
		"old profile": {&criapi.LinuxContainerSecurityContext{SeccompProfilePath: "localhost/" + profile}, "2\nnot named"},       //nolint:staticcheck // old clients
		"both":        {&criapi.LinuxContainerSecurityContext{Seccomp: local, SeccompProfilePath: "unconfined"}, "2\nnot named"}, //nolint:staticcheck // old clients
	} {
		c.security.Capabilities = &criapi.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
		if got := a.once(pod, p, strings.ReplaceAll(name, " ", "-"), image, command, c.security); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSeccompProfilesThatAreRefused(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	local := func(text string) *criapi.SecurityProfile {
		name := filepath.Join(t.TempDir(), "profile.json")
		return &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: writeFile(t, name, text)}
	}
	for _, c := range []struct {
		what    string
		profile *criapi.SecurityProfile
		text    string
	}{
		{"no JSON", local("x"), "decode seccomp profile"},
		{"no default", local("{}"), "no defaultAction"},
		{"listener", local(`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}`), "listenerPath"},
		{"notify", local(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}`), "SCMP_ACT_NOTIFY"},
		{"flag", local(`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FLY"]}`), "SECCOMP_FILTER_FLAG_FLY"},
		{"relative", &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: "x.json"}, "seccomp.localhost_ref"},
		{"key", local(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"nmaes": ["read"], "action": "SCMP_ACT_ERRNO"}]}`), `profile.json: decode seccomp profile: syscalls[0]: unknown key "nmaes"`},
		{"a name without use", &criapi.SecurityProfile{LocalhostRef: "/x"}, "profile_type is not Localhost"},
	} {
		config := containerConfig("c", busybox(t), "true")
		config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Seccomp: c.profile}
		wantRefusal(t, c.what, a.refusal(pod, config, p), "InvalidArgument", c.text)
	}
	config := containerConfig("c", busybox(t), "true")
	config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{SeccompProfilePath: "localhost/x.json"} //nolint:staticcheck // old clients
	wantRefusal(t, "relative, of old clients", a.refusal(pod, config, p), "InvalidArgument",
		`linux.security_context.seccomp_profile_path: profile "localhost/x.json": "x.json" is not an absolute path`)
}
