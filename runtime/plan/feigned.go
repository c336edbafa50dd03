package plan

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ownerCalls are those that change who owns a file.
func ownerCalls() []string {
	return []string{"chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32"}
}

// FeignedFilter is FeignedProfile, compiled, but that a listener hears of the calls which
// change who owns a file, or ask for it, or make a device: see linux.Feigning.
func FeignedFilter(arch string) ([]byte, error) {
	p := FeignedProfile(arch)
	p.Syscalls[0].Names = slices.DeleteFunc(p.Syscalls[0].Names, func(name string) bool { return slices.Contains(ownerCalls(), name) })
	for i := range p.Syscalls[1:] { // devices
		p.Syscalls[i+1].Action, p.Syscalls[i+1].ErrnoRet = specs.ActNotify, nil
	}
	p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
		Names: append(ownerCalls(), "stat", "fstat", "lstat", "newfstatat", "statx"), Action: specs.ActNotify,
	})
	return compile(p, func(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
		if a == specs.ActNotify {
			return retNotify, nil
		}
		return action(a, errno)
	})
}

// FeignedProfile lets calls seem to work that change who owns a file or who a process
// is, and those that make devices: for a root who has no other ids, nor devices, and whose
// package manager wants both. Nothing else remembers what was asked for.
func FeignedProfile(arch string) *specs.LinuxSeccomp {
	zero := uint(0)
	const (
		modeOfMknod, modeOfMknodat = 1, 2 // which argument it is
		kind, character, blockwise = 0o170000, 0o020000, 0o060000
	)
	own := archOf(arch)
	architectures := []specs.Arch{own}
	switch arch { // what else such a machine runs
	case "amd64":
		architectures = append(architectures, specs.ArchX86, specs.ArchX32)
	case "arm64":
		architectures = append(architectures, specs.ArchARM)
	}
	p := &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Architectures: architectures,
		Syscalls: []specs.LinuxSyscall{{
			Names: append(ownerCalls(),
				"setuid", "setuid32", "setgid", "setgid32", "setreuid", "setreuid32", "setregid", "setregid32",
				"setresuid", "setresuid32", "setresgid", "setresgid32", "setfsuid", "setfsuid32", "setfsgid", "setfsgid32",
				"setgroups", "setgroups32", "capset",
			),
			Action: specs.ActErrno, ErrnoRet: &zero,
		}},
	}
	for name, index := range map[string]uint{"mknod": modeOfMknod, "mknodat": modeOfMknodat} {
		for _, device := range []uint64{character, blockwise} {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
				Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &zero,
				Args: []specs.LinuxSeccompArg{{Index: index, Value: kind, ValueTwo: device, Op: specs.OpMaskedEqual}},
			})
		}
	}
	return p
}
