package plan

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The rules for one call that look at its arguments become a tree: a level is
// tried node by node, a node asks one question about one half of an argument, and
// each answer leads to a return value or to a level of its own, behind which
// the search goes on with the next node.
//
// Where rules overlap, the order of the nodes decides which of them counts.
// It is libseccomp's, whatever order the profile has them in:
//
//   - a rule about more calls beats one about fewer that comes later (and is
//     refused if it comes later itself and says something else);
//   - then the rule whose first argument is the highest one;
//   - then ==, != and masks before < and <=, those before > and >=;
//   - then the highest value first, but the lowest for < and <=.

// question is about one word of the arguments.
type question struct {
	word        int // 2*argument, and 1 more for the high half
	op          specs.LinuxSeccompOperator
	mask, value uint32

	rank  int  // of the rule's operator
	small bool // it is < or <=
}

func (q question) same(o question) bool {
	return q.word == o.word && q.op == o.op && q.mask == o.mask && q.value == o.value
}

// before reports whether q is tried before o. Equal ones are tried in the
// order in which they came.
func (q question) before(o question) bool {
	switch {
	case q.word != o.word:
		return q.word > o.word
	case q.rank != o.rank:
		return q.rank > o.rank
	case o.small:
		return q.value < o.value
	}
	return q.value > o.value
}

type node struct {
	question
	yes, no outcome
}

// outcome is a return value, a level, or nothing: neither.
type outcome struct {
	done  bool
	ret   uint32
	bound uint64 // with done: what the rule's last argument is compared with
	level []*node
}

func (n *node) leaf() bool { return n.yes.level == nil && n.no.level == nil }

// chain is what a rule with args, in the order of their numbers, does.
func chain(args []specs.LinuxSeccompArg, wide bool, ret uint32) outcome {
	if len(args) == 0 {
		return outcome{done: true, ret: ret}
	}
	then := func() outcome {
		o := chain(args[1:], wide, ret) // each time another: they grow apart
		o.bound = args[0].Value
		return o
	}
	one := func(n node) outcome { return outcome{level: []*node{&n}} }
	low, high, negated := questions(args[0])
	last := node{question: low, yes: then()}
	if negated {
		last = node{question: low, no: then()}
	}
	if !wide {
		return one(last)
	}
	equal := node{question: high, yes: one(last)}
	if negated {
		equal.no = then()
	}
	if low.op == specs.OpEqualTo || low.op == specs.OpMaskedEqual {
		return one(equal)
	}
	greater := node{question: high}
	greater.op = specs.OpGreaterThan
	equal.op = specs.OpEqualTo
	greater.no = one(equal)
	if !negated {
		greater.yes = then()
	}
	return one(greater)
}

// questions asks about the halves of an argument. Negated, the rule holds
// where the answer is no.
func questions(a specs.LinuxSeccompArg) (low, high question, negated bool) {
	value, mask := a.Value, ^uint64(0)
	q := question{op: specs.OpEqualTo, rank: 3}
	switch a.Op {
	case specs.OpMaskedEqual:
		value, mask, q.op = a.ValueTwo&a.Value, a.Value, a.Op
	case specs.OpNotEqual:
		negated = true
	case specs.OpLessThan:
		q, negated = question{op: specs.OpGreaterEqual, rank: 2, small: true}, true
	case specs.OpLessEqual:
		q, negated = question{op: specs.OpGreaterThan, rank: 2, small: true}, true
	case specs.OpGreaterEqual, specs.OpGreaterThan:
		q = question{op: a.Op, rank: 1}
	case specs.OpEqualTo:
	}
	q.word = 2 * int(a.Index) //nolint:gosec // Index < 6
	low, high = q, q
	high.word++
	low.value, low.mask = uint32(value), uint32(mask)           //nolint:gosec // the halves
	high.value, high.mask = uint32(value>>32), uint32(mask>>32) //nolint:gosec // likewise
	return low, high, negated
}

// meaningful are the args that can fail, in the order of their numbers.
func meaningful(args []specs.LinuxSeccompArg, wide bool) []specs.LinuxSeccompArg {
	var out []specs.LinuxSeccompArg
	for _, a := range args {
		if !wide {
			a.Value, a.ValueTwo = uint64(uint32(a.Value)), uint64(uint32(a.ValueTwo)) //nolint:gosec // as libseccomp
		}
		if a.Op != specs.OpMaskedEqual || a.Value != 0 {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b specs.LinuxSeccompArg) int { return int(a.Index) - int(b.Index) }) //nolint:gosec // < 6
	return out
}

var errContradiction = invalid(
	"two rules for the same calls, or a rule for some calls and one for more of them behind it, have different actions")

// join adds what a later rule does.
func (o *outcome) join(later outcome) error {
	switch {
	case later.done && o.done && later.ret != o.ret:
		return errContradiction
	case later.done:
		if !o.only(later.ret) {
			return errContradiction
		}
		*o = later
	case o.done:
		// What came before holds for more calls.
	default:
		for _, n := range later.level {
			if err := o.insert(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// only reports whether every return value below o is ret.
func (o *outcome) only(ret uint32) bool {
	if o.done {
		return o.ret == ret
	}
	return !slices.ContainsFunc(o.level, func(n *node) bool { return !n.yes.only(ret) || !n.no.only(ret) })
}

func (o *outcome) insert(n *node) error {
	for i, x := range o.level {
		if x.same(n.question) {
			return x.merge(n)
		}
		if n.before(x.question) {
			o.level = slices.Insert(o.level, i, n)
			return nil
		}
	}
	o.level = append(o.level, n)
	return nil
}

// merge joins what a later node does with the answers of the same question.
// Where the high half alone settles two comparisons, the narrower counts.
func (n *node) merge(later *node) error {
	halfway := !n.leaf() && !later.leaf() && n.word%2 == 1
	for _, side := range []struct {
		mine, its *outcome
		narrower  bool
	}{
		{&n.yes, &later.yes, later.yes.bound > n.yes.bound},
		{&n.no, &later.no, later.no.bound < n.no.bound},
	} {
		switch {
		case halfway && side.mine.done && side.its.done:
			if side.narrower {
				*side.mine = *side.its
			}
		case side.mine.done && side.its.level != nil:
			return nil // the earlier rule holds for more calls
		case side.its.done || side.its.level != nil:
			if err := side.mine.join(*side.its); err != nil {
				return err
			}
		}
	}
	return nil
}
