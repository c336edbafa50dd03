package plan

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// theirs is what libseccomp makes of a profile.
type theirs struct {
	Code    string   `json:"code"`
	Unknown []string `json:"unknown"` // names newer than the library
	Error   string   `json:"error"`
}

// libseccomp compiles profiles with the library itself.
func libseccomp(t *testing.T, profiles ...*specs.LinuxSeccomp) []theirs {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, for Debian's package
	if err := exec.CommandContext(t.Context(), python, "-c", "import seccomp").Run(); err != nil {
		t.Skip("needs the package python3-seccomp")
	}
	var in, out bytes.Buffer
	encoder := json.NewEncoder(&in)
	for _, p := range profiles {
		if err := encoder.Encode(p); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/libseccomp.py")
	cmd.Stdin, cmd.Stdout = &in, &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	answers := make([]theirs, len(profiles))
	decoder := json.NewDecoder(&out)
	for i := range answers {
		if err := decoder.Decode(&answers[i]); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// without leaves out names that libseccomp does not know.
func without(p *specs.LinuxSeccomp, names []string) *specs.LinuxSeccomp {
	out := *p
	out.Syscalls = nil
	for _, call := range p.Syscalls {
		call.Names = slices.DeleteFunc(slices.Clone(call.Names), func(n string) bool { return slices.Contains(names, n) })
		out.Syscalls = append(out.Syscalls, call)
	}
	return &out
}

// comparison runs two filters for one profile.
type comparison struct {
	t           *testing.T
	profile     *specs.LinuxSeccomp
	mine, their *bpf.VM
	table       syscalls
	known       []abi
	tops        map[abi]uint32 // the highest number that the profile names
	calls       int
	odd         int // libseccomp breaks the profile
	disputed    int // libseccomp takes another of the rules that fit
}

func compareWith(t *testing.T, p *specs.LinuxSeccomp, their theirs) *comparison {
	t.Helper()
	p = without(p, their.Unknown)
	code, err := hex.DecodeString(their.Code)
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseSyscalls()
	if err != nil {
		t.Fatal(err)
	}
	known, err := abis(p.Architectures)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{
		t: t, profile: p, mine: machine(t, compileOrFail(t, p)), their: machine(t, code), table: table, known: known,
		tops: map[abi]uint32{},
	}
	for _, a := range known {
		c.tops[a] = c.highest(a)
	}
	return c
}

func (c *comparison) highest(a abi) uint32 {
	top := uint32(0)
	for _, call := range c.profile.Syscalls {
		for _, name := range call.Names {
			if _, _, through := a.multiplexed(name); through {
				continue
			}
			if n, ok := a.number(c.table, name); ok {
				top = max(top, n)
			}
		}
	}
	return top
}

// want is libseccomp's answer, behind runc's test for calls newer than the profile.
func (c *comparison) want(audit, number uint32, args []uint64) uint32 {
	lenient := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActLog, specs.ActTrace}
	for _, a := range c.known {
		mode := a.column != columnAMD64 || number&x32Bit == 0
		mode = mode && (!a.x32() || number&x32Bit != 0)
		top := c.tops[a]
		if a.audit == audit && mode && top != 0 && number > top && !slices.Contains(lenient, c.profile.DefaultAction) {
			return retErrno | enosys
		}
	}
	return decide(c.t, c.their, audit, number, args...)
}

func (c *comparison) call(audit, number uint32, args []uint64) {
	c.t.Helper()
	c.calls++
	mine, their := decide(c.t, c.mine, audit, number, args...), c.want(audit, number, args)
	if mine == their {
		return
	}
	switch {
	case !c.lawful(audit, number, args, their):
		c.odd++
		return
	case c.lawful(audit, number, args, mine):
		c.disputed++
		return
	}
	text, _ := json.Marshal(c.profile)
	c.t.Fatalf("arch %#x, call %#x, arguments %#x: %#x, want %#x as libseccomp has it, by\n%.3000s", audit, number, args, mine, their, text)
}

// lawful reports whether the profile says ret, in some order of its rules. Now
// and then libseccomp's program does not do so: some versions lose one of two
// rules that share an argument, or compare the half of it that was loaded last.
func (c *comparison) lawful(audit, number uint32, args []uint64, ret uint32) bool {
	fallback, _ := action(c.profile.DefaultAction, c.profile.DefaultErrnoRet)
	matched, said := false, false
	for _, a := range c.known {
		if a.audit != audit {
			continue
		}
		try := func(conditions []specs.LinuxSeccompArg, r uint32) {
			if holdsAll(conditions, args, a.wide) && r != fallback {
				matched, said = true, said || r == ret
			}
		}
		for _, call := range c.profile.Syscalls {
			r, _ := action(call.Action, call.ErrnoRet)
			lists, _ := alternatives(call)
			for _, name := range call.Names {
				for _, conditions := range lists {
					if n, ok := a.number(c.table, name); ok && n == number {
						try(conditions, r)
					}
					if n, selector, ok := a.multiplexed(name); ok && n == number {
						try(selecting(conditions, selector), r)
					}
				}
			}
		}
	}
	return said || !matched && ret == fallback
}

func holdsAll(conditions []specs.LinuxSeccompArg, args []uint64, wide bool) bool {
	for _, c := range conditions {
		a, v, v2 := args[c.Index], c.Value, c.ValueTwo
		if !wide {
			a, v, v2 = uint64(uint32(a)), uint64(uint32(v)), uint64(uint32(v2))
		}
		if !arithmetic()[c.Op](a, v, v2) {
			return false
		}
	}
	return true
}

// everything makes every call there is, and more, with arguments around those
// that the rules for it compare with.
func (c *comparison) everything() {
	c.t.Helper()
	for _, a := range c.known {
		numbers := map[uint32][]specs.LinuxSeccompArg{^uint32(0): nil, x32Bit - 1: nil, x32Bit: nil}
		for n := range uint32(600) {
			numbers[n], numbers[n|x32Bit] = nil, nil
		}
		for _, row := range c.table {
			if n := row[a.column]; n >= 0 {
				numbers[uint32(n)] = nil
			}
		}
		for _, call := range c.profile.Syscalls {
			for _, name := range call.Names {
				if n, ok := a.number(c.table, name); ok {
					numbers[n] = append(numbers[n], call.Args...)
				}
				if n, selector, ok := a.multiplexed(name); ok {
					numbers[n] = append(numbers[n], selecting(call.Args, selector)...)
				}
			}
		}
		for _, number := range slices.Sorted(maps.Keys(numbers)) {
			for _, args := range around(numbers[number]) {
				c.call(a.audit, number, args)
			}
		}
	}
	c.call(0x12345678, 0, make([]uint64, numberOfArgs)) // of an architecture that is not the profile's
}

// around are arguments at the edges of what conditions decide.
func around(conditions []specs.LinuxSeccompArg) [][]uint64 {
	interesting := [numberOfArgs][]uint64{}
	for i := range interesting {
		interesting[i] = []uint64{0, ^uint64(0)}
	}
	for _, c := range conditions {
		for _, v := range []uint64{c.Value, c.ValueTwo} {
			interesting[c.Index] = append(interesting[c.Index], v, v-1, v+1, v^1<<32, v+1<<32, v-1<<32, ^v, uint64(uint32(v)))
		}
	}
	out := [][]uint64{make([]uint64, numberOfArgs)}
	if len(conditions) == 0 {
		return out
	}
	r := rand.New(rand.NewPCG(uint64(len(conditions)), 1))
	for range 20 + 8*len(conditions) {
		args := make([]uint64, numberOfArgs)
		for i := range args {
			args[i] = interesting[i][r.IntN(len(interesting[i]))]
		}
		out = append(out, args)
	}
	return out
}
