package cgroups

import (
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (b *builder) memory(mem *specs.LinuxMemory) {
	if mem == nil {
		return
	}
	for name, n := range map[string]*int64{
		"limit": mem.Limit, "reservation": mem.Reservation, "swap": mem.Swap, "kernel TCP limit": mem.KernelTCP,
	} {
		if n != nil && *n < -1 {
			b.invalid("memory %s of %d: want a number of bytes, or -1 for no limit", name, *n)
			return
		}
	}
	if isSet(mem.Limit) && *mem.Limit > 0 && isSet(mem.Swap) && *mem.Swap != -1 && *mem.Swap < *mem.Limit {
		b.invalid("memory swap of %d below the memory limit of %d, which is part of it", *mem.Swap, *mem.Limit)
		return
	}
	//nolint:staticcheck // The field is deprecated because kernels lack it; we must still refuse it.
	b.refuse("memory.kmem.limit_in_bytes", isSet(mem.Kernel))
	if b.v1() {
		b.memoryV1(mem)
	} else {
		b.memoryV2(mem)
	}
}

func (b *builder) memoryV1(mem *specs.LinuxMemory) {
	b.bytesV1("memory.limit_in_bytes", mem.Limit)
	if isSet(mem.Swap) {
		b.refuse("memory.memsw", !b.m.swap)
		b.bytesV1("memory.memsw.limit_in_bytes", mem.Swap)
	}
	b.bytesV1("memory.soft_limit_in_bytes", mem.Reservation)
	b.bytesV1("memory.kmem.tcp.limit_in_bytes", mem.KernelTCP)
	if mem.Swappiness != nil {
		b.set("memory", "memory.swappiness", strconv.FormatUint(*mem.Swappiness, 10))
	}
	if mem.DisableOOMKiller != nil && *mem.DisableOOMKiller {
		b.set("memory", "memory.oom_control", "1")
	}
}

func (b *builder) bytesV1(file string, n *int64) {
	if isSet(n) {
		b.set("memory", file, strconv.FormatInt(*n, 10))
	}
}

func (b *builder) memoryV2(mem *specs.LinuxMemory) {
	if isSet(mem.Limit) {
		b.set("memory", "memory.max", limit(*mem.Limit))
		if mem.CheckBeforeUpdate != nil && *mem.CheckBeforeUpdate && *mem.Limit > 0 && b.err == nil {
			b.out[len(b.out)-1].ceiling = uint64(*mem.Limit)
		}
	}
	b.swapV2(mem)
	if isSet(mem.Reservation) {
		b.set("memory", "memory.low", limit(*mem.Reservation))
	}
	b.refuse("memory kernel TCP limit", isSet(mem.KernelTCP))
	b.refuse("memory swappiness", mem.Swappiness != nil && *mem.Swappiness != 0)
	b.refuse("memory OOM killer switch", mem.DisableOOMKiller != nil && *mem.DisableOOMKiller)
}

// swapV2 turns OCI's limit of memory and swap together into one of swap alone.
func (b *builder) swapV2(mem *specs.LinuxMemory) {
	if !isSet(mem.Swap) {
		return
	}
	b.refuse("memory.swap", !b.m.swap)
	swap := *mem.Swap
	switch {
	case swap == -1:
	case mem.Limit == nil || *mem.Limit <= 0:
		b.invalid("memory swap of %d without a memory limit", swap)
		return
	default:
		swap -= *mem.Limit
	}
	b.set("memory", "memory.swap.max", limit(swap))
}

func isSet(n *int64) bool { return n != nil && *n != 0 }
