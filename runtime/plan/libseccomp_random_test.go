package plan

import (
	"math/rand/v2"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func everyArch() []specs.Arch {
	return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM}
}

func TestDefaultProfileIsWhatLibseccompMakesOfIt(t *testing.T) {
	var profiles []*specs.LinuxSeccomp
	for _, caps := range [][]string{defaultCaps(), allCaps()} {
		// Whether x32 has map_shadow_stack depends on libseccomp's version.
		p := without(DefaultProfile(Kernel{Arch: "amd64", Major: 6, Minor: 1}, caps), []string{"map_shadow_stack"})
		profiles = append(profiles, p)
		all := *p
		all.Architectures = everyArch()
		one := *p
		one.Architectures = everyArch()[:1]
		profiles = append(profiles, &all, &one)
	}
	for i, their := range libseccomp(t, profiles...) {
		if their.Error != "" {
			t.Fatal(their.Error)
		}
		c := compareWith(t, profiles[i], their)
		c.everything()
		if c.calls < 1000 || c.odd+c.disputed > 0 {
			t.Errorf("%d calls, %d odd, %d disputed", c.calls, c.odd, c.disputed)
		}
	}
}

// dice throws profiles.
type dice struct{ *rand.Rand }

func (d dice) value() uint64 {
	small := uint64(d.IntN(4))
	switch d.IntN(4) {
	case 0:
		return small << 32
	case 1:
		return small<<32 | uint64(d.IntN(4))
	case 2:
		return ^small
	}
	return small
}

func (d dice) args(most int) []specs.LinuxSeccompArg {
	var out []specs.LinuxSeccompArg
	operators := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan,
		specs.OpLessEqual, specs.OpMaskedEqual, specs.OpEqualTo, specs.OpEqualTo,
	}
	for _, i := range d.Perm(numberOfArgs)[:d.IntN(most+1)] {
		a := specs.LinuxSeccompArg{Index: uint(i % 3), Op: operators[d.IntN(len(operators))], Value: d.value()}
		if a.Op == specs.OpMaskedEqual {
			a.ValueTwo = d.value()
		}
		out = append(out, a)
	}
	return out
}

func (d dice) action(errnos int) (specs.LinuxSeccompAction, *uint) {
	errno := uint(d.IntN(errnos))
	list := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread,
		specs.ActTrap, specs.ActLog, specs.ActTrace,
	}
	a := list[d.IntN(len(list))]
	if a != specs.ActErrno && a != specs.ActTrace {
		return a, nil
	}
	return a, &errno
}

// profile has rules for few calls, so that they meet.
func (d dice) profile(several bool) *specs.LinuxSeccomp {
	p := &specs.LinuxSeccomp{Architectures: everyArch()[:1+d.IntN(5)]}
	p.DefaultAction, p.DefaultErrnoRet = d.action(200)
	names := []string{"read", "clone", "socket", "semop", "renameat", "mmap", "mmap2", "ioctl", "close_range", "no_such_call", "bind", "socketcall"}
	for _, i := range d.Perm(len(names))[:1+d.IntN(6)] {
		ret, errno := d.action(200)
		n := 1 + d.IntN(5)
		if several {
			n = 2
		}
		for range n {
			if several {
				ret, errno = d.action(200)
			}
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{names[i]}, Action: ret, ErrnoRet: errno, Args: d.args(3)})
		}
	}
	return p
}

func TestRandomProfilesAreWhatLibseccompMakesOfThem(t *testing.T) {
	const seed1, seed2 = 20, 26
	d := dice{rand.New(rand.NewPCG(seed1, seed2))}
	for _, several := range []bool{false, true} {
		var profiles []*specs.LinuxSeccomp
		for range 150 {
			profiles = append(profiles, d.profile(several))
		}
		calls, odd, disputed, refused := 0, 0, 0, 0
		for i, their := range libseccomp(t, profiles...) {
			if their.Error != "" {
				refused++ // rules that contradict each other
				continue
			}
			c := compareWith(t, profiles[i], their)
			c.everything()
			calls, odd, disputed = calls+c.calls, odd+c.odd, disputed+c.disputed
		}
		t.Logf("several actions %v: %d calls, %d odd, %d disputed; %d profiles refused", several, calls, odd, disputed, refused)
		if odd*100 > calls || disputed*10_000 > calls || refused*3 > len(profiles) {
			t.Errorf("%d calls, %d odd, %d disputed; %d of %d profiles refused", calls, odd, disputed, refused, len(profiles))
		}
	}
}
