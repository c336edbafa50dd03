package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cgroups/systemd"
	"github.com/siflet/siflet/runtime/linux"
)

// cpuPeriod is the period of the CPU quota in microseconds, the kernel's default.
const cpuPeriod = 100_000

// limited is the parent of groups that have limits. Users have one where a group is
// delegated to them, or systemd makes one for them.
func limited(ctx context.Context, groups *cgroups.Manager) (string, error) {
	if linux.IsRoot() || os.Getenv("SIFLET_CGROUP_PARENT") != "" {
		return cgroupParent(), nil
	}
	own, err := groups.Delegated()
	if err == nil {
		return own, nil
	}
	if groups.Version() == 2 && os.Getenv("XDG_RUNTIME_DIR") != "" {
		if serr := systemd.OwnScope(ctx, "siflet"); serr != nil {
			err = fmt.Errorf("%w, and %w", err, serr)
		} else if own, err = groups.DelegatedOwn(); err == nil {
			return own, nil
		}
	}
	return "", fmt.Errorf("limits take control groups of your own: %w; they need cgroup v2, and a systemd session of yours or an "+
		"administrator who delegates a group; start without limits, or by a batch system that sets them", err)
}

// resources turns the limit flags into OCI resources; nil when none was given.
func (o *actionOptions) resources() (*specs.LinuxResources, error) {
	var (
		memory specs.LinuxMemory
		cpu    specs.LinuxCPU
		out    specs.LinuxResources
	)
	for _, limit := range []struct {
		flag, value string
		into        **int64
	}{
		{"memory", o.memory, &memory.Limit},
		{"memory-reservation", o.memoryReservation, &memory.Reservation},
		{"memory-swap", o.memorySwap, &memory.Swap},
	} {
		if limit.value == "" {
			continue
		}
		bytes, err := parseBytes(limit.value)
		if err != nil {
			return nil, usageError{text: fmt.Sprintf("--%s %q: %v", limit.flag, limit.value, err)}
		}
		*limit.into = &bytes
		out.Memory = &memory
	}
	if swap, limit := memory.Swap, memory.Limit; swap != nil && *swap >= 0 && (limit == nil || *limit < 0 || *limit > *swap) {
		return nil, usageError{text: fmt.Sprintf("--memory-swap %s: it bounds memory and swap together; give a --memory that is not above it", o.memorySwap)}
	}
	if o.cpus != "" {
		cpus, err := strconv.ParseFloat(o.cpus, 64)
		if err != nil || !(cpus > 0) || cpus > 1<<20 {
			return nil, usageError{text: fmt.Sprintf("--cpus %q: want a number of CPUs above 0, such as 1.5", o.cpus)}
		}
		quota, period := int64(math.Round(cpus*cpuPeriod)), uint64(cpuPeriod)
		cpu.Quota, cpu.Period, out.CPU = &quota, &period, &cpu
	}
	if o.cpuShares >= 0 {
		shares := uint64(o.cpuShares)
		cpu.Shares, out.CPU = &shares, &cpu
	}
	if o.cpusetCPUs != "" || o.cpusetMems != "" {
		cpu.Cpus, cpu.Mems, out.CPU = o.cpusetCPUs, o.cpusetMems, &cpu
	}
	if o.pidsLimit != 0 {
		limit := o.pidsLimit
		out.Pids = &specs.LinuxPids{Limit: &limit}
	}
	if o.blkioWeight != 0 {
		weight := o.blkioWeight
		out.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	if out.Memory == nil && out.CPU == nil && out.Pids == nil && out.BlockIO == nil {
		return nil, nil //nolint:nilnil // no limits is an ordinary answer, not an error
	}
	return &out, nil
}

// parseBytes reads a size in bytes with an optional unit: b k m g t, in any
// case, with or without "b" or "ib" behind it; -1 means no limit.
func parseBytes(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	number := strings.TrimRight(strings.ToLower(s), "ib")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("kmgt", number[n-1]); i >= 0 {
			shift, number = 10*(i+1), number[:n-1]
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || value < 0 || math.IsNaN(value) {
		return 0, errors.New("want a size such as 200M or 1G")
	}
	bytes := value * float64(int64(1)<<shift)
	if bytes >= math.MaxInt64 {
		return 0, errors.New("too large")
	}
	return int64(bytes), nil
}
