package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestProfilesOfAWrongTypeAreToldByTheirFields(t *testing.T) {
	for text, want := range map[string]string{
		`7`:                    "the profile, at byte 1: want an object, not number",
		`{"defaultAction": 7}`: "defaultAction, at byte 19: want a string, not number",
		`{"syscalls": {}}`:     "syscalls, at byte 14: want a list, not object",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": "x"}]}`:        "syscalls[0].names: want a list, not string",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"errnoRet": "EPERM"}]}`: "syscalls[0].errnoRet: want a number that fits, not string",
		`{"defaultErrnoRet": -1}`:             "defaultErrnoRet, at byte 22: want a number that fits, not number -1",
		`{"archMap": [{"architecture": []}]}`: "archMap.architecture, at byte",
	} {
		_, err := ParseProfile([]byte(text), Kernel{Arch: "amd64", Major: 6}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("ParseProfile(%s) = %v, want %q", text, err, want)
		}
	}
}

func TestProfilesWithKeysOfNoFormatAreRefused(t *testing.T) {
	const all = `{
		"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS", "listenerPath": "", "listenerMetadata": "",
		"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
		"syscalls": [{
			"names": ["read"], "action": "SCMP_ACT_ERRNO", "comment": "x", "errnoRet": 1, "errno": "EPERM",
			"args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}],
			"includes": {"caps": [], "arches": [], "minKernel": "4.8"}, "excludes": {"caps": ["CAP_KILL"]}
		}, {"name": "write", "action": "SCMP_ACT_ERRNO", "errno": "38"}]
	}`
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{`"flags"`, `"flag"`, `unknown key "flag"`},
		{`"archMap"`, `"architecturs": [], "archMap"`, `unknown key "architecturs"`},
		{`"subArchitectures"`, `"subArches"`, `unknown key "subArches"`},
		{`"args"`, `"arguments"`, `syscalls[0]: unknown key "arguments"`},
		{`"valueTwo"`, `"value2"`, `syscalls[0]: unknown key "value2"`},
		{`"minKernel"`, `"minkernelversion"`, `syscalls[0]: unknown key "minkernelversion"`},
		{`"name"`, `"call"`, `syscalls[1]: unknown key "call"`},
		{`"EPERM"`, `"EPREM"`, `syscalls[0].errno: unknown error "EPREM"`},
		{`"ENOSYS"`, `"EPERM"`, `defaultErrno: the error is EPERM and 38`},
		{"]\n\t}", "]\n\t} {}", "after top-level value"},
	} {
		_, err := ParseProfile([]byte(strings.Replace(all, c.from, c.to, 1)), Kernel{Arch: "amd64", Major: 6}, nil)
		if c.want == "" && err != nil {
			t.Errorf("all keys: %v", err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrInvalid)) {
			t.Errorf("%s instead of %s: %v, want %q", c.to, c.from, err, c.want)
		}
	}
}

func TestProfilesGiveErrorsByName(t *testing.T) {
	p, err := ParseProfile([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "syscalls": [
		{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errno": "EHWPOISON"},
		{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errno": "5"},
		{"names": ["open"], "action": "SCMP_ACT_ERRNO", "errno": "ENOTSUP"}]}`), Kernel{Arch: "amd64", Major: 6}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []uint{*p.DefaultErrnoRet, *p.Syscalls[0].ErrnoRet, *p.Syscalls[1].ErrnoRet, *p.Syscalls[2].ErrnoRet}
	if want := []uint{38, 133, 5, 95}; !slices.Equal(got, want) {
		t.Errorf("errors %v, want %v", got, want)
	}
}
