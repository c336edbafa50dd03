package systemd

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
)

const unlimited = math.MaxUint64

// properties are those of a unit that stand for what the files of its cgroup hold.
// Files that systemd has no property for are left out.
func properties(files map[string]string) ([]systemd.Property, error) {
	var out []systemd.Property
	for _, file := range slices.Sorted(maps.Keys(files)) {
		some, err := propertiesOf(file, files[file])
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", file, files[file], err)
		}
		out = append(out, some...)
	}
	return out, nil
}

func propertiesOf(file, text string) ([]systemd.Property, error) {
	name := map[string]string{
		"memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
		"memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax", "cpu.weight": "CPUWeight",
		"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes",
	}[file]
	switch {
	case file == "cpu.max":
		return cpuMax(text)
	case name == "":
		return nil, nil
	case strings.HasPrefix(file, "cpuset."):
		bits, err := bitmap(text)
		return []systemd.Property{property(name, bits)}, err
	}
	n, err := number(text)
	return []systemd.Property{property(name, n)}, err
}

func number(text string) (uint64, error) {
	if text == "max" {
		return unlimited, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// cpuMax is a quota per second and the period that it is kept in.
func cpuMax(text string) ([]systemd.Property, error) {
	const second = 1_000_000
	first, rest, _ := strings.Cut(text, " ")
	quota, err := number(first)
	if err != nil {
		return nil, err
	}
	period, err := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
	if err != nil || period == 0 || period > second {
		return nil, fmt.Errorf("the period is none of 1 to %d", second)
	}
	perSecond := uint64(unlimited)
	if quota < unlimited/second {
		perSecond = quota * second / period
		// systemd keeps whole percents of a CPU, and would round what is between down.
		const percent = second / 100
		perSecond = (perSecond + percent - 1) / percent * percent
	}
	return []systemd.Property{property("CPUQuotaPerSecUSec", perSecond), property("CPUQuotaPeriodUSec", period)}, nil
}

// bitmap has a bit for each number of a list such as "0-3,7", the lowest first.
func bitmap(text string) ([]byte, error) {
	var out []byte
	if text == "" {
		return []byte{}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("%q is no list of numbers", text)
		}
		const bits = 8
		for n := first; n <= last; n++ {
			for uint64(len(out)) <= n/bits {
				out = append(out, 0)
			}
			out[n/bits] |= 1 << (n % bits)
		}
	}
	return out, nil
}
