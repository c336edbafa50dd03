package plan

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

//go:embed syscalls.txt
var syscallTable string

// The columns of the table.
const (
	columnAMD64 = iota
	column386
	columnARM64
	columnARM
	columnX32
	columns
)

// What AUDIT_ARCH_* the kernel calls an architecture.
const (
	auditX8664   = 0xc000003e // x32 too
	auditI386    = 0x40000003
	auditAArch64 = 0xc00000b7
	auditARM     = 0x40000028
)

// x32Bit marks calls of the x32 ABI, which shares x86-64's audit number.
const x32Bit = 0x40000000

type syscalls map[string][columns]int32

// parseSyscalls reads the table. Numbers are -1 where there is no such call.
func parseSyscalls() (syscalls, error) {
	table := make(syscalls, 512)
	for line := range strings.Lines(syscallTable) {
		fields := strings.Fields(line)
		if len(fields) != columns+1 {
			continue // the heading
		}
		var numbers [columns]int32
		for i, f := range fields[1:] {
			if f == "-" {
				numbers[i] = -1
				continue
			}
			n, err := strconv.ParseInt(f, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("table of system calls: %s: %w", fields[0], err)
			}
			numbers[i] = int32(n)
		}
		table[fields[0]] = numbers
	}
	return table, nil
}

// abi is one way to make system calls.
type abi struct {
	audit  uint32
	column int
	wide   bool // arguments have 64 bits
	// beside is set for the ABI of a pair that share an audit number.
	beside bool
}

func (a abi) x32() bool { return a.column == columnX32 }

// abis are those of a profile that can be called on a machine that runs this
// package, in the order in which the filter tries them. A profile may name
// others that libseccomp knows: no call of theirs ever comes.
func abis(list []specs.Arch) ([]abi, error) {
	both := slices.Contains(list, specs.ArchX32) && slices.Contains(list, specs.ArchX86_64)
	var out []abi
	for _, name := range list {
		var a abi
		switch name {
		case specs.ArchX86_64:
			a = abi{audit: auditX8664, column: columnAMD64, wide: true, beside: both}
		case specs.ArchX32:
			// As libseccomp has it: half of each register.
			a = abi{audit: auditX8664, column: columnX32, beside: both}
		case specs.ArchX86:
			a = abi{audit: auditI386, column: column386}
		case specs.ArchAARCH64:
			a = abi{audit: auditAArch64, column: columnARM64, wide: true}
		case specs.ArchARM:
			a = abi{audit: auditARM, column: columnARM}
		case specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64,
			specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X,
			specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K,
			specs.ArchSH, specs.ArchSHEB:
			continue
		default:
			return nil, invalid("seccomp profile: unknown architecture %q", name)
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, invalid("seccomp profile is for none of the architectures known here")
	}
	return out, nil
}

// number is the call's, with the bit that x32 sets.
func (a abi) number(table syscalls, name string) (uint32, bool) {
	numbers, ok := table[name]
	if !ok || numbers[a.column] < 0 {
		return 0, false
	}
	n := uint32(numbers[a.column]) //nolint:gosec // not negative
	if a.x32() {
		n |= x32Bit
	}
	return n, true
}

// Calls of i386 that are also made through one call with a selector.
const (
	socketcall386 = 102
	ipc386        = 117
)

// multiplexed is the number and the selector by which i386 has, or had before it
// got a number of its own, the call named.
func (a abi) multiplexed(name string) (number uint32, selector uint64, ok bool) {
	if a.column != column386 {
		return 0, 0, false
	}
	sockets := []string{
		"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
		"sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	}
	if i := slices.Index(sockets, name); i >= 0 {
		return socketcall386, uint64(i) + 1, true
	}
	for _, group := range []struct {
		first uint64
		names []string
	}{
		{1, []string{"semop", "semget", "semctl", "semtimedop"}},
		{11, []string{"msgsnd", "msgrcv", "msgget", "msgctl"}},
		{21, []string{"shmat", "shmdt", "shmget", "shmctl"}},
	} {
		if i := slices.Index(group.names, name); i >= 0 {
			return ipc386, group.first + uint64(i), true
		}
	}
	return 0, 0, false
}

// enter puts body behind a test for the ABI. The accumulator holds the audit
// number, before and, when the ABI is another, after.
func (a abi) enter(body []bpf.Instruction) []bpf.Instruction {
	load := bpf.LoadAbsolute{Off: offNumber, Size: 4}
	if a.audit != auditX8664 {
		return append(unless(a.audit, 1+len(body)), append([]bpf.Instruction{load}, body...)...)
	}
	// Both ABIs of x86-64 have one audit number: the bit in the call's number
	// tells them apart. A tracer sets the number to -1 to have no call made;
	// that is no call of x32's.
	inner := []bpf.Instruction{load}
	switch {
	case a.x32():
		inner = append(inner, jump(bpf.JumpLessThan, x32Bit, len(body))...)
	case a.beside:
		inner = append(inner, jump(bpf.JumpGreaterOrEqual, x32Bit, len(body))...)
	default:
		inner = append(inner, bpf.JumpIf{Cond: bpf.JumpEqual, Val: ^uint32(0), SkipTrue: longest(len(body))})
		inner = append(inner, jump(bpf.JumpGreaterOrEqual, x32Bit, len(body))...)
	}
	inner = append(inner, body...)
	inner = append(inner, bpf.LoadAbsolute{Off: offArch, Size: 4})
	return append(unless(a.audit, len(inner)), inner...)
}

// longest is how many instructions jump needs to skip n.
func longest(n int) uint8 {
	return uint8(len(jump(bpf.JumpGreaterOrEqual, 0, n))) //nolint:gosec // one or two
}

// unless skips n instructions when the accumulator is not value.
func unless(value uint32, n int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(n)}, //nolint:gosec // a filter has at most 4096 instructions
	}
}
