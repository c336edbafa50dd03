package plan

import (
	"errors"
	"testing"
)

func FuzzProfilesCompileOrAreRefused(f *testing.F) {
	for _, seed := range []string{
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
			"syscalls": [{"names": ["socket", "read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [
				{"index": 0, "value": 1, "op": "SCMP_CMP_NE"}, {"index": 5, "value": 4294967296, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}]}`,
		`{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
			"syscalls": [{"name": "read", "action": "SCMP_ACT_TRACE", "includes": {"minKernel": "4.8", "caps": ["CAP_KILL"]}},
				{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
					{"index": 1, "value": 1, "op": "SCMP_CMP_LT"}, {"index": 1, "value": 9, "op": "SCMP_CMP_GE"}]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProfile(text, Kernel{Arch: "amd64", Major: 6, Minor: 1}, []string{"CAP_KILL"})
		if err == nil {
			var code []byte
			if code, err = Compile(p); err == nil {
				machine(t, code) // the kernel would take it
			}
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%v is not a refusal", err)
		}
	})
}
