package plan

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// machine loads a filter. The loads of bpf.VM are big-endian, so it gets the
// words the other way round.
func machine(t *testing.T, code []byte) *bpf.VM {
	t.Helper()
	var program []bpf.Instruction
	for in := range slices.Chunk(code, 8) {
		program = append(program, bpf.RawInstruction{
			Op: binary.NativeEndian.Uint16(in), Jt: in[2], Jf: in[3], K: binary.NativeEndian.Uint32(in[4:]),
		}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// decide is what the kernel would do with one call.
func decide(t *testing.T, vm *bpf.VM, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	ret, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(ret)
}

func run(t *testing.T, code []byte, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	return decide(t, machine(t, code), audit, number, args...)
}

func compileOrFail(t *testing.T, p *specs.LinuxSeccomp) []byte {
	t.Helper()
	code, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestDefaultProfileDecidesAsDockerDoes(t *testing.T) {
	k := Kernel{Arch: "amd64", Major: 6, Minor: 1}
	ordinary := compileOrFail(t, DefaultProfile(k, defaultCaps()))
	admin := compileOrFail(t, DefaultProfile(k, []string{"CAP_SYS_ADMIN"}))
	const eperm, enosysRet = retErrno | 1, retErrno | 38
	for _, c := range []struct {
		what            string
		audit, number   uint32
		args            []uint64
		ordinary, admin uint32
	}{
		{"read", auditX8664, 0, nil, retAllow, retAllow},
		{"mount", auditX8664, 165, nil, eperm, retAllow},
		{"clone without namespaces", auditX8664, 56, []uint64{0x1200011}, retAllow, retAllow},
		{"clone of a user namespace", auditX8664, 56, []uint64{0x10000000}, eperm, retAllow},
		{"clone3", auditX8664, 435, nil, enosysRet, retAllow},
		{"chroot", auditX8664, 161, nil, retAllow, eperm},
		{"socket of AF_INET", auditX8664, 41, []uint64{2}, retAllow, retAllow},
		{"socket of AF_VSOCK", auditX8664, 41, []uint64{40}, eperm, eperm},
		{"personality 0", auditX8664, 135, []uint64{0}, retAllow, retAllow},
		{"personality 1", auditX8664, 135, []uint64{1}, eperm, eperm},
		{"personality all ones", auditX8664, 135, []uint64{0xffffffff}, retAllow, retAllow},
		{"read of i386", auditI386, 3, nil, retAllow, retAllow},
		{"mount of i386", auditI386, 21, nil, eperm, retAllow},
		{"read of x32", auditX8664, x32Bit, nil, retAllow, retAllow},
		{"ioctl of x32", auditX8664, x32Bit | 514, nil, retAllow, retAllow},
		{"call that the profile forbids", auditX8664, 248, nil, eperm, eperm}, // add_key
		{"call newer than the profile", auditX8664, 9999, nil, enosysRet, enosysRet},
		{"call newer than the profile, of i386", auditI386, 9999, nil, enosysRet, enosysRet},
		{"call newer than the profile, of x32", auditX8664, x32Bit | 9999, nil, enosysRet, enosysRet},
		{"another architecture", auditAArch64, 0, nil, retKillThread, retKillThread},
	} {
		if got := run(t, ordinary, c.audit, c.number, c.args...); got != c.ordinary {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.ordinary)
		}
		if got := run(t, admin, c.audit, c.number, c.args...); got != c.admin {
			t.Errorf("%s with CAP_SYS_ADMIN: %#x, want %#x", c.what, got, c.admin)
		}
	}
}

func arithmetic() map[specs.LinuxSeccompOperator]func(a, v, v2 uint64) bool {
	return map[specs.LinuxSeccompOperator]func(a, v, v2 uint64) bool{
		specs.OpEqualTo:      func(a, v, _ uint64) bool { return a == v },
		specs.OpNotEqual:     func(a, v, _ uint64) bool { return a != v },
		specs.OpLessThan:     func(a, v, _ uint64) bool { return a < v },
		specs.OpLessEqual:    func(a, v, _ uint64) bool { return a <= v },
		specs.OpGreaterThan:  func(a, v, _ uint64) bool { return a > v },
		specs.OpGreaterEqual: func(a, v, _ uint64) bool { return a >= v },
		specs.OpMaskedEqual:  func(a, v, v2 uint64) bool { return a&v == v2&v },
	}
}

// Every comparison must agree with the plain one in 64 bits.
func TestComparisonsAgreeWithArithmetic(t *testing.T) {
	interesting := []uint64{0, 1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<63 - 1, 1 << 63, ^uint64(0)}
	for op, holds := range arithmetic() {
		for _, v := range interesting {
			v2 := interesting[rand.IntN(len(interesting))]
			code := compileOrFail(t, &specs.LinuxSeccomp{
				DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64},
				Syscalls: []specs.LinuxSyscall{{
					Names: []string{"write"}, Action: specs.ActAllow,
					Args: []specs.LinuxSeccompArg{
						{Index: 0, Op: specs.OpEqualTo, Value: 7},
						{Index: 5, Op: op, Value: v, ValueTwo: v2},
					},
				}},
			})
			for _, a := range interesting {
				want := uint32(retErrno | 1)
				if holds(a, v, v2) {
					want = retAllow
				}
				if got := run(t, code, auditX8664, 1, 7, 0, 0, 0, 0, a); got != want {
					t.Errorf("%#x %s %#x, %#x: %#x, want %#x", a, op, v, v2, got, want)
				}
				if got := run(t, code, auditX8664, 1, 8, 0, 0, 0, 0, a); got != retErrno|1 {
					t.Errorf("first argument is not looked at: %#x", got)
				}
			}
		}
	}
}

func TestCompileRefusesWhatItCannotDo(t *testing.T) {
	amd64 := []specs.Arch{specs.ArchX86_64}
	rules := func(list ...specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: amd64, Syscalls: list}
	}
	rule := func(action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"read"}, Action: action, Args: args}
	}
	is := func(index uint, value uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: specs.OpEqualTo, Value: value}
	}
	var many []specs.LinuxSyscall
	for i := range uint64(2000) {
		many = append(many, rule(specs.ActErrno, is(0, i<<16)))
	}
	flags := func(f specs.LinuxSeccompFlag) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: amd64, Flags: []specs.LinuxSeccompFlag{f}}
	}
	for name, c := range map[string]struct {
		profile *specs.LinuxSeccomp
		text    string
	}{
		"no default":       {&specs.LinuxSeccomp{}, `unknown seccomp action ""`},
		"no architecture":  {&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, "none of the architectures"},
		"architecture":     {&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_Z80"}}, "SCMP_ARCH_Z80"},
		"notify":           {&specs.LinuxSeccomp{DefaultAction: specs.ActNotify}, "listener"},
		"notify of a rule": {rules(rule(specs.ActNotify)), "listener"},
		"action":           {rules(rule("SCMP_ACT_SING")), "SCMP_ACT_SING"},
		"listener": {&specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Architectures: amd64, ListenerPath: "/run/x",
		}, "listenerPath"},
		"flag":              {flags("SECCOMP_FILTER_FLAG_NEW_LISTENER"), "SECCOMP_FILTER_FLAG_NEW_LISTENER"},
		"flag for notify":   {flags(specs.LinuxSeccompFlagWaitKillableRecv), "WAIT_KILLABLE_RECV"},
		"seventh argument":  {rules(rule(specs.ActErrno, is(6, 0))), "args.index 6"},
		"operator":          {rules(rule(specs.ActErrno, specs.LinuxSeccompArg{Op: "SCMP_CMP_LIKE"})), "SCMP_CMP_LIKE"},
		"contradiction":     {rules(rule(specs.ActErrno, is(0, 1)), rule(specs.ActTrap, is(0, 1))), "call read: two rules"},
		"narrow before all": {rules(rule(specs.ActErrno, is(0, 1), is(1, 1)), rule(specs.ActTrap, is(0, 1))), "call read: "},
		"long":              {rules(many...), "the kernel takes 4096"},
	} {
		_, err := Compile(c.profile)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), ErrInvalid.Error()) {
			t.Errorf("%s: Compile() = %v, want one with %q", name, err, c.text)
		}
	}
}

// The machine's own architecture counts whether the profile names it or not.
func TestProfileIsForTheMachineItself(t *testing.T) {
	for _, text := range []string{
		`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_S390X"]}`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}]}`,
	} {
		p, err := ParseProfile([]byte(text), Kernel{Arch: "amd64", Major: 6}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, compileOrFail(t, p), auditX8664, 0); got != retAllow {
			t.Errorf("%s: read = %#x, want it allowed", text, got)
		}
	}
}
