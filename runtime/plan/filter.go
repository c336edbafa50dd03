package plan

import (
	"encoding/binary"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Return values of a filter.
const (
	retKillThread  = 0x00000000
	retKillProcess = 0x80000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
)

const (
	eperm         = 1
	maxFilter     = 4096 // instructions; the kernel's BPF_MAXINSNS
	numberOfArgs  = 6
	maxSeccompRet = 0xffff
)

// Compile turns a resolved profile into struct sock_filter[] in native byte
// order. Names no architecture knows are ignored, as libseccomp's users do: a
// profile lists calls newer than this program.
//
// A call of an architecture that the profile does not name kills the thread.
func Compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	fallback, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	table, err := parseSyscalls()
	if err != nil {
		return nil, err
	}
	known := abis(profile.Architectures)
	if len(known) == 0 {
		return nil, fmt.Errorf("seccomp profile is for none of the architectures known here: %w", ErrInvalid)
	}
	code := []bpf.Instruction{bpf.RetConstant{Val: retKillThread}}
	for _, abi := range slices.Backward(known) {
		rules, err := collect(profile, table, abi, fallback)
		if err != nil {
			return nil, err
		}
		code = append(abi.enter(search(rules, fallback)), code...)
	}
	code = append([]bpf.Instruction{bpf.LoadAbsolute{Off: offArch, Size: 4}}, code...)
	if len(code) > maxFilter {
		return nil, fmt.Errorf("seccomp profile needs %d instructions, more than %d: %w", len(code), maxFilter, ErrInvalid)
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	out := make([]byte, 0, 8*len(raw))
	for _, in := range raw {
		out = binary.NativeEndian.AppendUint16(out, in.Op)
		out = append(out, in.Jt, in.Jf)
		out = binary.NativeEndian.AppendUint32(out, in.K)
	}
	return out, nil
}

// rule is what to do for one number.
type rule struct {
	number uint32
	// conditional are tried in order before otherwise.
	conditional []conditional
	otherwise   uint32
	settled     bool // a rule without conditions set otherwise
}

type conditional struct {
	args []specs.LinuxSeccompArg // all must hold
	ret  uint32
}

func (r rule) same(o rule) bool {
	return len(r.conditional) == 0 && len(o.conditional) == 0 && r.otherwise == o.otherwise
}

// collect gathers the rules of one architecture by number.
func collect(profile *specs.LinuxSeccomp, table syscalls, abi abi, fallback uint32) ([]rule, error) {
	byNumber := map[uint32]*rule{}
	for _, call := range profile.Syscalls {
		ret, err := action(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, err
		}
		conditions, err := conditions(call)
		if err != nil {
			return nil, err
		}
		for _, name := range call.Names {
			number, ok := abi.number(table, name)
			if !ok {
				continue
			}
			r := byNumber[number]
			if r == nil {
				r = &rule{number: number, otherwise: fallback}
				byNumber[number] = r
			}
			if conditions == nil {
				if !r.settled {
					r.otherwise, r.settled = ret, true
				}
				continue
			}
			for _, args := range conditions {
				r.conditional = append(r.conditional, conditional{args: args, ret: ret})
			}
		}
	}
	var rules []rule
	for _, r := range byNumber {
		r.conditional = slices.DeleteFunc(r.conditional, func(c conditional) bool {
			return c.ret == r.otherwise && allSame(r.conditional, r.otherwise)
		})
		rules = append(rules, *r)
	}
	slices.SortFunc(rules, func(a, b rule) int { return int(int64(a.number) - int64(b.number)) })
	return rules, nil
}

func allSame(list []conditional, ret uint32) bool {
	return !slices.ContainsFunc(list, func(c conditional) bool { return c.ret != ret })
}

// conditions are alternatives, each a list that must hold as a whole. As in
// runc, a rule with one argument twice means alternatives.
func conditions(call specs.LinuxSyscall) ([][]specs.LinuxSeccompArg, error) {
	if len(call.Args) == 0 {
		return nil, nil
	}
	seen := map[uint]bool{}
	twice := false
	for _, a := range call.Args {
		if a.Index >= numberOfArgs {
			return nil, fmt.Errorf("seccomp rule for %v: argument %d: %w", call.Names, a.Index, ErrInvalid)
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	if !twice {
		return [][]specs.LinuxSeccompArg{call.Args}, nil
	}
	var out [][]specs.LinuxSeccompArg
	for _, a := range call.Args {
		out = append(out, []specs.LinuxSeccompArg{a})
	}
	return out, nil
}

func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	value := uint32(eperm)
	if errno != nil {
		value = uint32(min(*errno, maxSeccompRet)) //nolint:gosec // bounded
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActErrno:
		return retErrno | value, nil
	case specs.ActTrace:
		return retTrace | value, nil
	case specs.ActLog:
		return retLog, nil
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActNotify:
		return 0, fmt.Errorf("seccomp action %s needs a listener, which siflet has not: %w", a, ErrInvalid)
	default:
		return 0, fmt.Errorf("unknown seccomp action %q: %w", a, ErrInvalid)
	}
}
