package plan

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// span is a run of numbers, from first to the next span's, treated alike.
type span struct {
	first uint32
	code  []bpf.Instruction
}

// search is a binary search over the number in the accumulator. It always
// ends in a return.
func search(rules []rule, fallback uint32) []bpf.Instruction {
	other := []bpf.Instruction{bpf.RetConstant{Val: fallback}}
	spans := []span{{code: other}}
	last := rule{otherwise: fallback} // what the last span does
	next := uint32(0)
	add := func(number uint32, r rule, code []bpf.Instruction) {
		if last.same(r) {
			return
		}
		if spans[len(spans)-1].first == number {
			spans = spans[:len(spans)-1]
		}
		spans = append(spans, span{number, code})
		last = r
	}
	for _, r := range rules {
		if r.number != next {
			add(next, rule{otherwise: fallback}, other)
		}
		add(r.number, r, leaf(r))
		next = r.number + 1
	}
	add(next, rule{otherwise: fallback}, other)
	return tree(spans)
}

func tree(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].code
	}
	middle := len(spans) / 2
	below, above := tree(spans[:middle]), tree(spans[middle:])
	code := jump(bpf.JumpGreaterOrEqual, spans[middle].first, len(below))
	code = append(code, below...)
	return append(code, above...)
}

// jump skips n instructions when the condition holds.
func jump(cond bpf.JumpTest, value uint32, n int) []bpf.Instruction {
	if n <= 255 {
		return []bpf.Instruction{bpf.JumpIf{Cond: cond, Val: value, SkipTrue: uint8(n)}}
	}
	return []bpf.Instruction{
		bpf.JumpIf{Cond: cond, Val: value, SkipFalse: 1},
		bpf.Jump{Skip: uint32(n)}, //nolint:gosec // a filter has at most 4096 instructions
	}
}

// leaf is everything done for one number.
func leaf(r rule) []bpf.Instruction {
	var code []bpf.Instruction
	for _, c := range r.conditional {
		code = append(code, check(c)...)
	}
	return append(code, bpf.RetConstant{Val: r.otherwise})
}

// check returns c.ret if all of c's arguments match, and goes on behind itself
// otherwise.
func check(c conditional) []bpf.Instruction {
	code := []bpf.Instruction{bpf.RetConstant{Val: c.ret}}
	for _, arg := range slices.Backward(c.args) {
		code = append(compare(arg, len(code)), code...)
	}
	return code
}

// compare goes on if the argument matches and skips the rest and itself
// otherwise. Arguments are 64 bits wide and BPF compares 32.
func compare(a specs.LinuxSeccompArg, rest int) []bpf.Instruction {
	low, high := offArgs+8*uint32(a.Index), offArgs+8*uint32(a.Index)+4 //nolint:gosec // Index < 6
	loadLow, loadHigh := bpf.LoadAbsolute{Off: low, Size: 4}, bpf.LoadAbsolute{Off: high, Size: 4}
	v, mask := a.Value, ^uint64(0)
	if a.Op == specs.OpMaskedEqual {
		v, mask = a.ValueTwo, a.Value
	}
	vLow, vHigh := uint32(v), uint32(v>>32) //nolint:gosec // the halves
	fail := func(behind int) uint8 { return uint8(behind + rest) }
	masked := func(m uint32) []bpf.Instruction {
		if m == ^uint32(0) {
			return nil
		}
		return []bpf.Instruction{bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: m}}
	}
	switch a.Op {
	case specs.OpEqualTo, specs.OpMaskedEqual:
		tail := append([]bpf.Instruction{loadLow}, masked(uint32(mask))...) //nolint:gosec // the low half
		tail = append(tail, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vLow & uint32(mask), SkipFalse: fail(0)})
		head := append([]bpf.Instruction{loadHigh}, masked(uint32(mask>>32))...)
		head = append(head, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vHigh & uint32(mask>>32), SkipFalse: fail(len(tail))})
		return append(head, tail...)
	case specs.OpNotEqual:
		return []bpf.Instruction{
			loadHigh,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: vHigh, SkipFalse: 2},
			loadLow,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: vLow, SkipTrue: fail(0)},
		}
	case specs.OpGreaterThan, specs.OpGreaterEqual:
		cond := bpf.JumpGreaterThan
		if a.Op == specs.OpGreaterEqual {
			cond = bpf.JumpGreaterOrEqual
		}
		return []bpf.Instruction{
			loadHigh,
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vHigh, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: vHigh, SkipFalse: fail(2)},
			loadLow,
			bpf.JumpIf{Cond: cond, Val: vLow, SkipFalse: fail(0)},
		}
	default: // less than, less or equal
		cond := bpf.JumpGreaterOrEqual
		if a.Op == specs.OpLessEqual {
			cond = bpf.JumpGreaterThan
		}
		return []bpf.Instruction{
			loadHigh,
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vHigh, SkipTrue: fail(3)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: vHigh, SkipFalse: 2},
			loadLow,
			bpf.JumpIf{Cond: cond, Val: vLow, SkipTrue: fail(0)},
		}
	}
}
