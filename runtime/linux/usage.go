package linux

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ProcessUsage is what processes use, as /proc tells. Times are in nanoseconds, sizes in bytes.
type ProcessUsage struct {
	Processes uint64 // with their threads
	// User and System are the times of those that run, and of their children that have ended.
	User, System uint64
	// Memory is what they have in memory, each its share of what several have.
	Memory uint64
	// Anonymous is the part of it that is of no file.
	Anonymous, Swap       uint64
	Faults, MajorFaults   uint64
	ReadBytes, WriteBytes uint64 // of storage
}

// ticksPerSecond is what the kernel tells all programs of x86 and ARM: USER_HZ.
const ticksPerSecond = 100

// UsageOf adds up the processes in the PID namespace of a process, which may not be the
// caller's own. The error for one that is gone wraps fs.ErrNotExist.
func UsageOf(pid int) (ProcessUsage, error) {
	pids, err := ProcessesWith(pid)
	if err != nil {
		return ProcessUsage{}, err
	}
	var sum ProcessUsage
	for _, one := range pids {
		sum.add("/proc/" + strconv.Itoa(one) + "/")
	}
	return sum, nil
}

// ProcessesWith lists the processes in the PID namespace of a process: that one alone if
// it is the caller's own. The error for one that is gone wraps fs.ErrNotExist.
func ProcessesWith(pid int) ([]int, error) {
	space, err := pidNamespace(strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	own, err := pidNamespace("self")
	if err != nil || space == own {
		return []int{pid}, err
	}
	pids, err := Processes()
	return slices.DeleteFunc(pids, func(one int) bool {
		in, err := pidNamespace(strconv.Itoa(one))
		return err != nil || in != space
	}), err
}

// pidNamespace names that of a process.
func pidNamespace(pid string) (string, error) { return os.Readlink("/proc/" + pid + "/ns/pid") }

// add adds what is known of a process, which may be gone.
func (u *ProcessUsage) add(dir string) {
	const longest = 4 << 10
	text, err := Slurp(dir+"stat", longest)
	if err != nil {
		return
	}
	// After the name, which may hold anything: see proc_pid_stat(5).
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	number := func(n int) uint64 {
		const first = 3 // the state
		if n-first >= len(fields) {
			return 0
		}
		v, _ := strconv.ParseUint(fields[n-first], 10, 64)
		return v
	}
	const (
		minflt, cminflt, majflt, cmajflt = 10, 11, 12, 13
		utime, stime, cutime, cstime     = 14, 15, 16, 17
		threads                          = 20
		tick                             = 1e9 / ticksPerSecond
	)
	u.Processes += number(threads)
	u.User += (number(utime) + number(cutime)) * tick
	u.System += (number(stime) + number(cstime)) * tick
	u.Faults += number(minflt) + number(cminflt) + number(majflt) + number(cmajflt)
	u.MajorFaults += number(majflt) + number(cmajflt)
	shared := values(dir + "smaps_rollup")
	const kB = 1 << 10
	u.Memory += shared["Pss"] * kB
	u.Anonymous += shared["Pss_Anon"] * kB
	u.Swap += shared["SwapPss"] * kB
	traffic := values(dir + "io")
	u.ReadBytes += traffic["read_bytes"]
	u.WriteBytes += traffic["write_bytes"]
}

// values are the numbers of a file with lines "name: number".
func values(path string) map[string]uint64 {
	const longest = 16 << 10
	text, err := Slurp(path, longest)
	if err != nil {
		return nil
	}
	out := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, rest, found := strings.Cut(line, ":")
		if fields := strings.Fields(rest); found && len(fields) > 0 {
			if v, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
				out[name] = v
			}
		}
	}
	return out
}
