package build

import (
	"debug/elf"
	"encoding/binary"
	"io"
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
	// The header is all that is needed, and all of what others wrote that is read.
	const machineOffset = 18
	var head [machineOffset + 2]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != elf.ELFMAG {
		return ""
	}
	little, wide := head[elf.EI_DATA] == byte(elf.ELFDATA2LSB), head[elf.EI_CLASS] == byte(elf.ELFCLASS64)
	machine := binary.BigEndian.Uint16(head[machineOffset:])
	if little {
		machine = binary.LittleEndian.Uint16(head[machineOffset:])
	}
	choose := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	switch elf.Machine(machine) {
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
