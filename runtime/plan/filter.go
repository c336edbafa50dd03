package plan

import (
	"cmp"
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
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
	retActionFull  = 0xffff0000
)

const (
	eperm         = 1
	enosys        = 38
	maxFilter     = 4096 // instructions; the kernel's BPF_MAXINSNS
	numberOfArgs  = 6
	maxSeccompRet = 0xffff
)

// Compile turns a resolved profile into struct sock_filter[] in native byte
// order. What a call gets is what libseccomp's filter gives it, as runc uses
// that:
//
//   - Names that no architecture knows are ignored: a profile lists calls newer
//     than this program.
//   - Rules with the default action say nothing.
//   - A rule without arguments beats all that have some; for those see node.
//   - Calls with a higher number than any call that the profile names get
//     ENOSYS, unless the default lets them through: the profile's author can't
//     have known them, and ENOSYS is what makes a program try an older call.
//   - A call of an architecture that the profile does not name kills the thread.
func Compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	if err := check(profile); err != nil {
		return nil, err
	}
	return compile(profile, action)
}

// compile compiles a profile whose actions are what ret says.
func compile(profile *specs.LinuxSeccomp, ret actionFunc) ([]byte, error) {
	fallback, err := ret(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	table, err := parseSyscalls()
	if err != nil {
		return nil, err
	}
	known, err := abis(profile.Architectures)
	if err != nil {
		return nil, err
	}
	code := []bpf.Instruction{bpf.RetConstant{Val: retKillThread}}
	for _, abi := range slices.Backward(known) {
		rules, err := collect(profile, table, abi, fallback, ret)
		if err != nil {
			return nil, err
		}
		code = append(abi.enter(search(rules, fallback)), code...)
	}
	code = append([]bpf.Instruction{bpf.LoadAbsolute{Off: offArch, Size: 4}}, code...)
	if len(code) > maxFilter {
		return nil, invalid("seccomp profile needs a filter of %d instructions, and the kernel takes %d: "+
			"name fewer architectures, or compare fewer arguments", len(code), maxFilter)
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

// check refuses what a profile asks for beside its rules and can't have.
func check(profile *specs.LinuxSeccomp) error {
	if profile.ListenerPath != "" || profile.ListenerMetadata != "" {
		return invalid("seccomp profile has a listenerPath or listenerMetadata: siflet hands no calls to a listener")
	}
	for _, flag := range profile.Flags {
		switch flag {
		case specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, flagTsync:
		case specs.LinuxSeccompFlagWaitKillableRecv:
			return invalid("seccomp flag %s is for a listener, which siflet has not", flag)
		default:
			return invalid("unknown seccomp flag %q", flag)
		}
	}
	return nil
}

// rule is what to do for one number.
type rule struct {
	number    uint32
	choices   outcome
	otherwise uint32
	settled   bool // by a rule without arguments
	onwards   bool // the same for all numbers up to the next rule's
}

func (r rule) same(o rule) bool {
	return r.choices.level == nil && o.choices.level == nil && r.otherwise == o.otherwise
}

func (r *rule) add(args []specs.LinuxSeccompArg, wide bool, ret uint32) error {
	args = meaningful(args, wide)
	switch {
	case r.settled:
	case len(args) == 0:
		r.otherwise, r.settled, r.choices = ret, true, outcome{}
	default:
		return r.choices.join(chain(args, wide, ret))
	}
	return nil
}

// collect gathers the rules of one architecture in the order of their numbers.
func collect(profile *specs.LinuxSeccomp, table syscalls, abi abi, fallback uint32, action actionFunc) ([]rule, error) {
	c := collector{abi: abi, table: table, fallback: fallback, byNumber: map[uint32]*rule{}}
	for _, call := range profile.Syscalls {
		ret, err := action(call.Action, call.ErrnoRet)
		if err != nil {
			return nil, err
		}
		alternatives, err := alternatives(call)
		if err != nil {
			return nil, err
		}
		for _, name := range call.Names {
			for _, args := range alternatives {
				if err := c.call(name, args, ret); err != nil {
					return nil, fmt.Errorf("seccomp profile: call %s: %w", name, err)
				}
			}
		}
	}
	return inOrder(c.byNumber, abi.unknown(c.highest, fallback)), nil
}

type collector struct {
	abi      abi
	table    syscalls
	fallback uint32
	byNumber map[uint32]*rule
	highest  uint32 // of the calls named
}

func (c *collector) call(name string, args []specs.LinuxSeccompArg, ret uint32) error {
	number, ok := c.abi.number(c.table, name)
	if through, selector, also := c.abi.multiplexed(name); also {
		if err := c.add(through, selecting(args, selector), ret); err != nil {
			return err
		}
	} else if ok {
		c.highest = max(c.highest, number)
	}
	if !ok {
		return nil
	}
	return c.add(number, args, ret)
}

func (c *collector) add(number uint32, args []specs.LinuxSeccompArg, ret uint32) error {
	if ret == c.fallback {
		return nil
	}
	if c.byNumber[number] == nil {
		c.byNumber[number] = &rule{number: number, otherwise: c.fallback}
	}
	return c.byNumber[number].add(args, c.abi.wide, ret)
}

// unknown are the rules for calls that the profile's author did not know.
func (a abi) unknown(highest, fallback uint32) []rule {
	if highest == 0 || fallback == retAllow || fallback == retLog || fallback&retActionFull == retTrace {
		return nil
	}
	none := rule{number: highest + 1, otherwise: retErrno | enosys, onwards: true}
	if a.column != columnAMD64 {
		return []rule{none}
	}
	return []rule{none, {number: x32Bit, otherwise: fallback, onwards: true}}
}

// inOrder sorts the rules, and ends them with last instead of what they say of
// those numbers.
func inOrder(byNumber map[uint32]*rule, last []rule) []rule {
	var rules []rule
	for _, r := range byNumber {
		if len(last) == 0 || r.number < last[0].number {
			rules = append(rules, *r)
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return cmp.Compare(a.number, b.number) })
	return append(rules, last...)
}

// selecting are the conditions for a call that i386 also makes through another,
// which has the selector as its first argument.
func selecting(args []specs.LinuxSeccompArg, selector uint64) []specs.LinuxSeccompArg {
	out := []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: selector}}
	for _, a := range args {
		if a.Index != 0 {
			out = append(out, a)
		}
	}
	return out
}

// alternatives are lists of conditions that must hold as a whole. As in runc, a
// rule with one argument twice means alternatives.
func alternatives(call specs.LinuxSyscall) ([][]specs.LinuxSeccompArg, error) {
	seen := map[uint]bool{}
	twice := false
	for _, a := range call.Args {
		if a.Index >= numberOfArgs {
			return nil, invalid("seccomp rule for %v: args.index %d: a call has arguments 0 to 5", call.Names, a.Index)
		}
		switch a.Op {
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan,
			specs.OpLessEqual, specs.OpMaskedEqual:
		default:
			return nil, invalid("seccomp rule for %v: unknown operator %q", call.Names, a.Op)
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

// actionFunc is what the kernel is to do for an action.
type actionFunc func(a specs.LinuxSeccompAction, errno *uint) (uint32, error)

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
		return 0, invalid("seccomp action %s needs a listener, which siflet has not", a)
	default:
		return 0, invalid("unknown seccomp action %q", a)
	}
}
