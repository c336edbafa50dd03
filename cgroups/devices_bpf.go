package cgroups

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attachDevices makes rules the only device program of a v2 group. The new
// program is attached before the old ones go: all of them must agree, so at no
// time is more allowed than by one of them.
func (g *Group) attachDevices(rules []specs.LinuxDeviceCgroup, fresh bool) error {
	dir := g.m.tree[0].mount + g.path
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // A directory opened to name it.
	var old []link.AttachedProgram
	if !fresh {
		attached, err := link.QueryPrograms(link.QueryOptions{Target: fd, Attach: ebpf.AttachCGroupDevice})
		if err != nil {
			return fmt.Errorf("query device programs: %w", err)
		}
		old = attached.Programs
	}
	detach, err := cgroup2.LoadAttachCgroupDeviceFilter(deviceProgram(rules), "Apache", fd)
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	for _, p := range old {
		if err := detachProgram(fd, p.ID); err != nil {
			return errors.Join(fmt.Errorf("replace device program: %w", err), detach())
		}
	}
	return nil
}

func detachProgram(fd int, id ebpf.ProgramID) error {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // Only our descriptor of it.
	return link.RawDetachProgram(link.RawDetachProgramOptions{
		Target: fd, Program: p, Attach: ebpf.AttachCGroupDevice,
	})
}

// deviceProgram decides by the last rule that matches, for each of read, write
// and mknod by itself: "r" for a device does not let it be opened for writing.
// What no rule matches is denied.
//
// The library's own filter lets an open for reading and writing pass when
// either is allowed; hence this one.
func deviceProgram(rules []specs.LinuxDeviceCgroup) asm.Instructions {
	const (
		kind, access, major, minor = asm.R2, asm.R3, asm.R4, asm.R5
		scratch                    = asm.R6
	)
	// struct bpf_cgroup_dev_ctx { u32 access_type (access<<16 | type), major, minor }
	code := asm.Instructions{
		asm.LoadMem(kind, asm.R1, 0, asm.Half),
		asm.LoadMem(access, asm.R1, 0, asm.Word),
		asm.RSh.Imm32(access, 16),
		asm.LoadMem(major, asm.R1, 4, asm.Word),
		asm.LoadMem(minor, asm.R1, 8, asm.Word),
	}
	label := func(i int) string { return "rule" + strconv.Itoa(i) }
	for i, d := range slices.Backward(rules) {
		next := label(i - 1)
		if i == 0 {
			next = "deny"
		}
		start := len(code)
		switch d.Type {
		case "b":
			code = append(code, asm.JNE.Imm(kind, unix.BPF_DEVCG_DEV_BLOCK, next))
		case "c":
			code = append(code, asm.JNE.Imm(kind, unix.BPF_DEVCG_DEV_CHAR, next))
		}
		if n := number(d.Major); n != anyDevice {
			code = append(code, asm.JNE.Imm(major, int32(n), next))
		}
		if n := number(d.Minor); n != anyDevice {
			code = append(code, asm.JNE.Imm(minor, int32(n), next))
		}
		bits := accessBits(d.Access)
		if d.Allow {
			// What this rule grants is settled; the rest is for earlier rules.
			code = append(code,
				asm.And.Imm32(access, ^bits),
				asm.JEq.Imm(access, 0, "allow"))
		} else {
			code = append(code,
				asm.Mov.Reg32(scratch, access),
				asm.And.Imm32(scratch, bits),
				asm.JNE.Imm(scratch, 0, "deny"))
		}
		code[start] = code[start].WithSymbol(label(i))
	}
	return append(code,
		asm.Mov.Imm32(asm.R0, 0).WithSymbol("deny"),
		asm.Return(),
		asm.Mov.Imm32(asm.R0, 1).WithSymbol("allow"),
		asm.Return(),
	)
}

func accessBits(access string) int32 {
	var bits int32
	for letter, bit := range map[string]int32{
		"r": unix.BPF_DEVCG_ACC_READ, "w": unix.BPF_DEVCG_ACC_WRITE, "m": unix.BPF_DEVCG_ACC_MKNOD,
	} {
		if strings.Contains(access, letter) {
			bits |= bit
		}
	}
	return bits
}
