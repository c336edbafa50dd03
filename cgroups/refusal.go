package cgroups

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// isRefusal tells whether the kernel found fault with the value: with what it
// says or, EACCES, with what the group above has (a v1 cpuset).
func isRefusal(err error) bool {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EBUSY, unix.ERANGE, unix.EOVERFLOW, unix.EACCES, unix.ENOSPC} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// refusal is a value that the kernel does not take: the caller's mistake.
type refusal struct {
	err error
	why string
}

func (r *refusal) Error() string { return r.err.Error() + "; " + r.why }

func (r *refusal) Unwrap() []error { return []error{r.err, ErrInvalid} }

// refuse finds out what the kernel has against s, of which it says no more than err.
// The values of pending are not in force yet.
func (g *Group) refuse(s setting, pending []setting, err error) error {
	why := "the kernel knows no such value here"
	switch {
	case errors.Is(err, unix.EBUSY) && s.controller == "cpuset":
		why = "the kernel refuses it: a group below has some that this one would lose"
	case errors.Is(err, unix.EBUSY):
		why = "the kernel refuses it: a limit can't be below what is in use"
	case errors.Is(err, unix.EACCES):
		why = "the kernel refuses it: a group can't have more than the one above it"
	case errors.Is(err, unix.EINVAL):
		if found := g.misfit(s, pending); found != "" {
			why = found
		}
	}
	return &refusal{err, why}
}

// misfit finds the value that s can't be beside.
func (g *Group) misfit(s setting, pending []setting) string {
	w := prospect{g: g, h: g.m.find(s.controller), pending: pending}
	switch s.file {
	case "cpu.cfs_quota_us", "cpu.cfs_period_us":
		return w.bandwidth("cpu.cfs_quota_us", "cpu.cfs_period_us")
	case "cpu.rt_runtime_us", "cpu.rt_period_us":
		return w.bandwidth("cpu.rt_runtime_us", "cpu.rt_period_us")
	case "cpu.cfs_burst_us":
		return w.burst("cpu.cfs_quota_us", s.file)
	case "cpu.max.burst":
		return w.burst("cpu.max", s.file)
	case "memory.limit_in_bytes", "memory.memsw.limit_in_bytes":
		limit, ok1 := w.number("memory.limit_in_bytes")
		both, ok2 := w.number("memory.memsw.limit_in_bytes")
		if ok1 && ok2 && limit > both {
			return fmt.Sprintf("the limit of memory and swap together would be %d, less than the memory limit of %d, which is part of it", both, limit)
		}
	}
	return ""
}

// prospect is the values that a group would have.
type prospect struct {
	g       *Group
	h       *hierarchy
	pending []setting
}

// number is the first number of a file.
func (w *prospect) number(file string) (int64, bool) {
	i := slices.IndexFunc(w.pending, func(s setting) bool { return s.file == file })
	if i < 0 {
		return readNumber(w.g.file(w.h, file))
	}
	return parseNumber(w.pending[i].value)
}

func readNumber(file string) (int64, bool) {
	text, err := readFile(file)
	if err != nil {
		return 0, false
	}
	return parseNumber(string(text))
}

func parseNumber(text string) (int64, bool) {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseInt(word, 10, 64)
	return n, err == nil
}

func (w *prospect) burst(quotaFile, burstFile string) string {
	quota, ok1 := w.number(quotaFile)
	burst, ok2 := w.number(burstFile)
	if !ok1 || !ok2 || quota <= 0 || burst <= quota {
		return ""
	}
	return fmt.Sprintf("a burst of %d microseconds is more than the quota of %d", burst, quota)
}

// part is what a group has of a CPU: so many microseconds in each period of so many. A
// runtime of less than zero is no limit.
type part struct{ runtime, period int64 }

func (p part) cpus() float64 { return float64(p.runtime) / float64(p.period) }

func (p part) String() string {
	return fmt.Sprintf("%d of every %d microseconds (%s CPUs)", p.runtime, p.period, strconv.FormatFloat(p.cpus(), 'g', 3, 64))
}

// bandwidth compares what the group would have with what those above and below it have:
// on v1 none may have more than the nearest one above that has a limit.
func (w *prospect) bandwidth(runtime, period string) string {
	partOf := func(group string) (p part, ok bool) {
		at := w.h.mount + group + "/"
		runs, ok1 := readNumber(at + runtime)
		each, ok2 := readNumber(at + period)
		return part{runs, each}, ok1 && ok2 && each > 0
	}
	var own part
	var ok1, ok2 bool
	own.runtime, ok1 = w.number(runtime)
	own.period, ok2 = w.number(period)
	if !ok1 || !ok2 || own.runtime < 0 || own.period <= 0 {
		return ""
	}
	for group := w.g.path; group != "/"; {
		group = path.Dir(group)
		above, ok := partOf(group)
		if !ok || above.runtime < 0 {
			continue
		}
		if own.cpus() > above.cpus() {
			return fmt.Sprintf("%s is more than the group above, %s, has: %s", own, group, above)
		}
		break
	}
	below, err := children(w.h.mount + w.g.path)
	if err != nil {
		return ""
	}
	for _, dir := range below {
		group := strings.TrimPrefix(dir, w.h.mount)
		if has, ok := partOf(group); ok && has.cpus() > own.cpus() {
			return fmt.Sprintf("%s is less than a group below, %s, has: %s", own, group, has)
		}
	}
	return ""
}
