package plan

import (
	"slices"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Kernel is what a profile may depend on of the machine.
type Kernel struct {
	Arch         string // as GOARCH
	Major, Minor uint64 // of the version
}

// DefaultProfile is the profile of Docker and containerd for a container with
// the given bounding capabilities.
func DefaultProfile(k Kernel, caps []string) *specs.LinuxSeccomp {
	return resolve(seccomp.DefaultProfile(), k, caps)
}

// resolve decides the conditions of a profile: its own, not the kernel's.
func resolve(config *seccomp.Seccomp, k Kernel, caps []string) *specs.LinuxSeccomp {
	out := config.LinuxSeccomp
	out.Syscalls = nil
	native := archOf(k.Arch)
	for _, a := range config.ArchMap {
		if a.Arch == native {
			out.Architectures = append([]specs.Arch{a.Arch}, a.SubArches...)
		}
	}
	// As libseccomp has it, the machine's own is always among them.
	if !slices.Contains(out.Architectures, native) {
		out.Architectures = append([]specs.Arch{native}, out.Architectures...)
	}
	for _, call := range config.Syscalls {
		if included(call.Includes, k, caps) && !excluded(call.Excludes, k, caps) {
			rule := call.LinuxSyscall
			if call.Name != "" { //nolint:staticcheck // old profiles have it
				rule.Names = []string{call.Name} //nolint:staticcheck // likewise
			}
			out.Syscalls = append(out.Syscalls, rule)
		}
	}
	return &out
}

func included(f *seccomp.Filter, k Kernel, caps []string) bool {
	if f == nil {
		return true
	}
	for _, c := range f.Caps {
		if !slices.Contains(caps, c) {
			return false
		}
	}
	return (len(f.Arches) == 0 || slices.Contains(f.Arches, profileArch(k.Arch))) &&
		(f.MinKernel == nil || atLeast(k, *f.MinKernel))
}

func excluded(f *seccomp.Filter, k Kernel, caps []string) bool {
	if f == nil {
		return false
	}
	for _, c := range f.Caps {
		if slices.Contains(caps, c) {
			return true
		}
	}
	return slices.Contains(f.Arches, profileArch(k.Arch)) || f.MinKernel != nil && atLeast(k, *f.MinKernel)
}

func atLeast(k Kernel, v seccomp.KernelVersion) bool {
	return k.Major > v.Kernel || k.Major == v.Kernel && k.Minor >= v.Major
}

// profileArch is how profiles call an architecture of Go.
func profileArch(arch string) string {
	switch arch {
	case "386":
		return "x86"
	case "loong64":
		return "loongarch64"
	case "mips64le":
		return "mipsel64"
	}
	return arch
}

// archOf is "" for one that no profile of ours is for.
func archOf(goarch string) specs.Arch {
	switch goarch {
	case "amd64":
		return specs.ArchX86_64
	case "386":
		return specs.ArchX86
	case "arm64":
		return specs.ArchAARCH64
	case "arm":
		return specs.ArchARM
	}
	return ""
}

// flagTsync is known to runc and says nothing: the launch stage has one thread.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// filterFlags are the flags of seccomp(2) for a profile.
func filterFlags(profile *specs.LinuxSeccomp) uint32 {
	const logging, specAllow = 1 << 1, 1 << 2
	if profile == nil || len(profile.Flags) == 0 {
		return specAllow // as runc: without it the filter would slow the container down
	}
	var flags uint32
	for _, f := range profile.Flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= logging
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= specAllow
		default: // nothing to do, or refused by check
		}
	}
	return flags
}
