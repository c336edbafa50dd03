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
	columns
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
	x32    bool // calls of x32, beside those of x86-64
}

// abis are those of a profile that this package knows, in the order in which
// the filter tries them.
func abis(list []specs.Arch) []abi {
	x32 := slices.Contains(list, specs.ArchX32)
	var out []abi
	for _, a := range list {
		switch a {
		case specs.ArchX86_64:
			if x32 {
				out = append(out, abi{audit: 0xc000003e, column: columnAMD64, x32: true})
			}
			out = append(out, abi{audit: 0xc000003e, column: columnAMD64})
		case specs.ArchX86:
			out = append(out, abi{audit: 0x40000003, column: column386})
		case specs.ArchAARCH64:
			out = append(out, abi{audit: 0xc00000b7, column: columnARM64})
		case specs.ArchARM:
			out = append(out, abi{audit: 0x40000028, column: columnARM})
		default:
		}
	}
	return out
}

func (a abi) number(table syscalls, name string) (uint32, bool) {
	numbers, ok := table[name]
	if !ok || numbers[a.column] < 0 {
		return 0, false
	}
	if !a.x32 {
		return uint32(numbers[a.column]), true //nolint:gosec // not negative
	}
	if n, special := x32Number(name); special {
		return x32Bit | n, true
	}
	return x32Bit | uint32(numbers[a.column]), true //nolint:gosec // not negative
}

// x32Number is for the calls whose structures differ under x32.
func x32Number(name string) (uint32, bool) {
	const firstSpecial = 512
	i := slices.Index([]string{
		"rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg",
		"execve", "ptrace", "rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack",
		"timer_create", "mq_notify", "kexec_load", "waitid", "set_robust_list", "get_robust_list",
		"vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo", "recvmmsg", "sendmmsg",
		"process_vm_readv", "process_vm_writev", "setsockopt", "getsockopt", "io_setup", "io_submit",
		"execveat", "preadv2", "pwritev2",
	}, name)
	if i < 0 {
		return 0, false
	}
	return uint32(firstSpecial + i), true
}

// enter puts body behind a test for the ABI. The accumulator holds the audit
// number, before and, when the ABI is another, after.
func (a abi) enter(body []bpf.Instruction) []bpf.Instruction {
	load := bpf.LoadAbsolute{Off: offNumber, Size: 4}
	reload := bpf.LoadAbsolute{Off: offArch, Size: 4}
	if a.audit != 0xc000003e {
		return append(unless(a.audit, 1+len(body)), append([]bpf.Instruction{load}, body...)...)
	}
	// Both ABIs of x86-64 have one audit number: the bit in the call's number
	// tells them apart.
	inner := []bpf.Instruction{load}
	if a.x32 {
		inner = append(inner, jump(bpf.JumpLessThan, x32Bit, len(body))...)
	} else {
		inner = append(inner, jump(bpf.JumpGreaterOrEqual, x32Bit, len(body))...)
	}
	inner = append(inner, body...)
	inner = append(inner, reload)
	return append(unless(a.audit, len(inner)), inner...)
}

// unless skips n instructions when the accumulator is not value.
func unless(value uint32, n int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.Jump{Skip: uint32(n)}, //nolint:gosec // a filter has at most 4096 instructions
	}
}
