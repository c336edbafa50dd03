package build

import (
	"debug/elf"
	"os"

	"github.com/siflet/siflet/runtime/linux"
)

// arch is the architecture that the programs of a root are for: that of its shell, as the
// peers have it. It is empty if nobody can tell.
func arch(root int) string {
	for _, name := range []string{"/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/env", "/sbin/init"} {
		fd, err := linux.OpenIn(root, name, linux.OPath, 0)
		if err != nil {
			continue
		}
		name := archOf(fd)
		linux.Close(fd)
		if name != "" {
			return name
		}
	}
	return ""
}

// archOf is the architecture of a program, as Go calls it.
func archOf(fd int) string {
	st, err := linux.Fstat(fd)
	if err != nil || !st.IsRegular() {
		return ""
	}
	f, err := linux.Reopen(fd, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // read only
	program, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	little := program.Data == elf.ELFDATA2LSB
	wide := program.Class == elf.ELFCLASS64
	choose := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	switch program.Machine {
	case elf.EM_386:
		return "386"
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_PPC64:
		return choose(little, "ppc64le", "ppc64")
	case elf.EM_MIPS:
		return choose(wide, "mips64", "mips") + choose(little, "le", "")
	case elf.EM_S390:
		return "s390x"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_LOONGARCH:
		return "loong64"
	default:
		return ""
	}
}
