package plan

import (
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
	spans := []span{{code: []bpf.Instruction{bpf.RetConstant{Val: fallback}}}}
	last := rule{otherwise: fallback} // what the last span does
	next := uint32(0)
	add := func(number uint32, r rule) {
		if last.same(r) {
			return
		}
		if spans[len(spans)-1].first == number {
			spans = spans[:len(spans)-1]
		}
		spans = append(spans, span{number, leaf(r)})
		last = r
	}
	open := false
	for _, r := range rules {
		if r.number != next && !open {
			add(next, rule{otherwise: fallback})
		}
		add(r.number, r)
		next, open = r.number+1, r.onwards
	}
	if !open {
		add(next, rule{otherwise: fallback})
	}
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
	return append(level(r.choices), bpf.RetConstant{Val: r.otherwise})
}

// level tries the nodes in order and goes on behind itself when none ends in a
// return.
func level(o outcome) []bpf.Instruction {
	if o.done {
		return []bpf.Instruction{bpf.RetConstant{Val: o.ret}}
	}
	var code []bpf.Instruction
	for _, n := range o.level {
		code = append(code, n.code()...)
	}
	return code
}

func (n *node) code() []bpf.Instruction {
	yes, no := level(n.yes), level(n.no)
	if len(yes) > 0 && len(no) > 0 && !n.yes.done {
		yes = append(yes, bpf.Jump{Skip: uint32(len(no))}) //nolint:gosec // a filter has at most 4096 instructions
	}
	load := uint32(offArgs + 4*n.word) //nolint:gosec // 12 words
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: load, Size: 4}}
	if n.mask != ^uint32(0) {
		code = append(code, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: n.mask})
	}
	cond, opposite := bpf.JumpEqual, bpf.JumpNotEqual
	switch n.op {
	case specs.OpGreaterThan:
		cond, opposite = bpf.JumpGreaterThan, bpf.JumpLessOrEqual
	case specs.OpGreaterEqual:
		cond, opposite = bpf.JumpGreaterOrEqual, bpf.JumpLessThan
	case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual:
	}
	if len(yes) == 0 {
		return append(append(code, jump(cond, n.value, len(no))...), no...)
	}
	return append(append(append(code, jump(opposite, n.value, len(yes))...), yes...), no...)
}
