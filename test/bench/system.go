package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// jiffy is the unit of /proc/stat on every Linux Go runs on.
const jiffy = 10 * time.Millisecond

// busy is the CPU time that the whole machine has spent since it booted.
func busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	fields := strings.Fields(string(line))
	if len(fields) < 9 {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	var ticks int64
	for i, field := range fields[1:9] {
		if i == 3 || i == 4 { // idle, iowait
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * jiffy, nil
}

// processes returns the PIDs of the processes in this mount namespace, the
// benchmark's own, whose command line starts with one of prefixes.
func processes(prefixes ...string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		if theirs, err := os.Readlink(filepath.Join("/proc", entry.Name(), "ns/mnt")); err != nil || theirs != own {
			continue
		}
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue // it ended
		}
		starts := func(prefix string) bool { return strings.HasPrefix(string(line), prefix) }
		if slices.ContainsFunc(prefixes, starts) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// pss is the proportional set size of processes in bytes.
func pss(pids []int) (total float64, err error) {
	for _, pid := range pids {
		n, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// field reads a "Name: N kB" line, in bytes.
func field(path, name string) (float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		words := strings.Fields(scanner.Text())
		if len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseFloat(words[1], 64)
			return n * 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// cpuTime is what processes have used, in nanoseconds precision (schedstat).
func cpuTime(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // a thread that ended
			}
			first, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", task, err)
			}
			total += time.Duration(n)
		}
	}
	return total, nil
}

func median(samples []time.Duration) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return ms(sorted[len(sorted)/2])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
