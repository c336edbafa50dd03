package plan

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

const (
	auditX86_64  = 0xc000003e
	auditI386    = 0x40000003
	auditAARCH64 = 0xc00000b7
)

// run carries a filter out for one call, as the kernel would. The loads of
// bpf.VM are big-endian, so it gets the words the other way round.
func run(t *testing.T, code []byte, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	var raw []bpf.Instruction
	for in := range slices.Chunk(code, 8) {
		raw = append(raw, bpf.RawInstruction{
			Op: binary.NativeEndian.Uint16(in), Jt: in[2], Jf: in[3], K: binary.NativeEndian.Uint32(in[4:]),
		}.Disassemble())
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	acc, steps := uint32(0), 0
	for pc := 0; ; pc++ {
		if steps++; steps > maxFilter || pc >= len(raw) {
			t.Fatalf("filter does not end: pc %d", pc)
		}
		switch in := raw[pc].(type) {
		case bpf.LoadAbsolute:
			acc = binary.BigEndian.Uint32(data[in.Off:])
		case bpf.ALUOpConstant:
			acc &= in.Val
		case bpf.Jump:
			pc += int(in.Skip)
		case bpf.JumpIf:
			if holds(in.Cond, acc, in.Val) {
				pc += int(in.SkipTrue)
			} else {
				pc += int(in.SkipFalse)
			}
		case bpf.RetConstant:
			return in.Val
		default:
			t.Fatalf("instruction %T", in)
		}
	}
}

func holds(c bpf.JumpTest, a, b uint32) bool {
	switch c {
	case bpf.JumpEqual:
		return a == b
	case bpf.JumpNotEqual:
		return a != b
	case bpf.JumpGreaterThan:
		return a > b
	case bpf.JumpGreaterOrEqual:
		return a >= b
	case bpf.JumpLessThan:
		return a < b
	case bpf.JumpLessOrEqual:
		return a <= b
	default:
		panic(fmt.Sprint("condition ", c))
	}
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
	const eperm, enosys = retErrno | 1, retErrno | 38
	for _, c := range []struct {
		what            string
		audit, number   uint32
		args            []uint64
		ordinary, admin uint32
	}{
		{"read", auditX86_64, 0, nil, retAllow, retAllow},
		{"mount", auditX86_64, 165, nil, eperm, retAllow},
		{"clone without namespaces", auditX86_64, 56, []uint64{0x1200011}, retAllow, retAllow},
		{"clone of a user namespace", auditX86_64, 56, []uint64{0x10000000}, eperm, retAllow},
		{"clone3", auditX86_64, 435, nil, enosys, retAllow},
		{"chroot", auditX86_64, 161, nil, retAllow, eperm},
		{"socket of AF_INET", auditX86_64, 41, []uint64{2}, retAllow, retAllow},
		{"socket of AF_VSOCK", auditX86_64, 41, []uint64{40}, eperm, eperm},
		{"personality 0", auditX86_64, 135, []uint64{0}, retAllow, retAllow},
		{"personality 1", auditX86_64, 135, []uint64{1}, eperm, eperm},
		{"personality all ones", auditX86_64, 135, []uint64{0xffffffff}, retAllow, retAllow},
		{"read of i386", auditI386, 3, nil, retAllow, retAllow},
		{"mount of i386", auditI386, 21, nil, eperm, retAllow},
		{"read of x32", auditX86_64, x32Bit, nil, retAllow, retAllow},
		{"ioctl of x32", auditX86_64, x32Bit | 514, nil, retAllow, retAllow},
		{"unknown call", auditX86_64, 9999, nil, eperm, eperm},
		{"another architecture", auditAARCH64, 0, nil, retKillThread, retKillThread},
	} {
		if got := run(t, ordinary, c.audit, c.number, c.args...); got != c.ordinary {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.ordinary)
		}
		if got := run(t, admin, c.audit, c.number, c.args...); got != c.admin {
			t.Errorf("%s with CAP_SYS_ADMIN: %#x, want %#x", c.what, got, c.admin)
		}
	}
}

// Every comparison must agree with the plain one in 64 bits.
func TestComparisonsAgreeWithArithmetic(t *testing.T) {
	interesting := []uint64{0, 1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<63 - 1, 1 << 63, ^uint64(0)}
	plain := map[specs.LinuxSeccompOperator]func(a, v, v2 uint64) bool{
		specs.OpEqualTo:      func(a, v, _ uint64) bool { return a == v },
		specs.OpNotEqual:     func(a, v, _ uint64) bool { return a != v },
		specs.OpLessThan:     func(a, v, _ uint64) bool { return a < v },
		specs.OpLessEqual:    func(a, v, _ uint64) bool { return a <= v },
		specs.OpGreaterThan:  func(a, v, _ uint64) bool { return a > v },
		specs.OpGreaterEqual: func(a, v, _ uint64) bool { return a >= v },
		specs.OpMaskedEqual:  func(a, v, v2 uint64) bool { return a&v == v2&v },
	}
	for op, holds := range plain {
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
				if got := run(t, code, auditX86_64, 1, 7, 0, 0, 0, 0, a); got != want {
					t.Errorf("%#x %s %#x, %#x: %#x, want %#x", a, op, v, v2, got, want)
				}
				if got := run(t, code, auditX86_64, 1, 8, 0, 0, 0, 0, a); got != retErrno|1 {
					t.Errorf("first argument is not looked at: %#x", got)
				}
			}
		}
	}
}

func TestCompileRefusesWhatItCannotDo(t *testing.T) {
	for name, p := range map[string]*specs.LinuxSeccomp{
		"no default":       {},
		"no architecture":  {DefaultAction: specs.ActAllow},
		"notify":           {DefaultAction: specs.ActNotify},
		"seventh argument": {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64}, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 6}}}}},
	} {
		if _, err := Compile(p); err == nil {
			t.Errorf("%s: Compile() = nil, want an error", name)
		}
	}
}
