package cgroups

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// setting is one value to write to one file of one controller.
type setting struct {
	controller string
	file       string
	value      string
	// key is the device or other first word that the value is for, in a file
	// with a line for each; what the line says when unset is in unset.
	key, unset string
	// or is for a kernel that has no such file.
	or *setting
	// optional settings are skipped where the kernel has no such file.
	optional bool
	// devices, instead of a value, are the rules of the devices controller.
	devices []specs.LinuxDeviceCgroup
	// named settings are files that the request names itself, or by a number that
	// need not be right: see checkFiles.
	named bool
	// emptyCpuset puts back a v2 cpuset that named nothing.
	emptyCpuset bool
	// ceiling makes the setting fail when the group uses more than this already.
	ceiling uint64
}

// settings decides what to write for r, in order. It does no I/O. Zero and
// unset ask for nothing; what this machine can't do is an error.
func (m *Manager) settings(r *specs.LinuxResources) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	b := &builder{m: m}
	b.memory(r.Memory)
	b.cpu(r.CPU)
	b.cpuset(r.CPU)
	b.pids(r.Pids)
	b.block(r.BlockIO)
	b.hugetlb(r.HugepageLimits)
	if r.Network != nil {
		b.refuse("net_cls", r.Network.ClassID != nil && *r.Network.ClassID != 0)
		b.refuse("net_prio", len(r.Network.Priorities) > 0)
	}
	b.refuse("rdma", len(r.Rdma) > 0)
	b.unified(r.Unified)
	// A cpuset with members can't be made empty again, so it comes last.
	slices.SortStableFunc(b.out, func(x, y setting) int { return x.rank() - y.rank() })
	if len(r.Devices) > 0 && !m.unprivileged { // whose permissions say which they may use
		rules, err := deviceRules(r.Devices)
		if err != nil {
			return nil, err
		}
		// On v2 devices are a program, not a controller that could be missing.
		if m.version == 1 {
			b.need("devices")
		}
		b.out = append(b.out, setting{controller: "devices", devices: rules})
	}
	return b.out, b.err
}

func (s *setting) rank() int {
	if s.controller == "cpuset" {
		return 1
	}
	return 0
}

// builder collects settings and keeps the first error.
type builder struct {
	m   *Manager
	out []setting
	err error
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

func (b *builder) invalid(format string, args ...any) { b.fail("%w", invalid(format, args...)) }

func (b *builder) refuse(what string, asked bool) {
	if asked {
		b.fail("%s: %w", what, ErrNoController)
	}
}

func (b *builder) need(controller string) bool {
	if b.m.find(controller) == nil {
		b.refuse(controller, true)
		return false
	}
	return true
}

func (b *builder) set(controller, file, value string) {
	b.add(setting{controller: controller, file: file, value: value})
}

func (b *builder) add(s setting) {
	if b.need(s.controller) {
		b.out = append(b.out, s)
	}
}

func (b *builder) v1() bool { return b.m.version == 1 }

// limit is a v2 or pids limit: "max" for less than zero.
func limit(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func (b *builder) pids(p *specs.LinuxPids) {
	if p != nil && p.Limit != nil && *p.Limit != 0 {
		b.set("pids", "pids.max", limit(*p.Limit))
	}
}

func (b *builder) hugetlb(limits []specs.LinuxHugepageLimit) {
	for _, l := range limits {
		if b.m.find("hugetlb") == nil && l.Limit == 0 {
			continue
		}
		if err := checkName(l.Pagesize); err != nil {
			b.fail("hugetlb page size: %w", err)
			return
		}
		file := "max"
		if b.v1() {
			file = "limit_in_bytes"
		}
		value := strconv.FormatUint(l.Limit, 10)
		b.add(setting{controller: "hugetlb", file: "hugetlb." + l.Pagesize + "." + file, value: value, named: true})
		b.add(setting{
			controller: "hugetlb", file: "hugetlb." + l.Pagesize + ".rsvd." + file,
			value: value, optional: true,
		})
	}
}

// unified writes v2 files by name. The core files (cgroup.procs, cgroup.kill)
// are not limits and not for a request to write.
func (b *builder) unified(files map[string]string) {
	if len(files) > 0 && b.v1() {
		b.invalid("unified: this machine has cgroup v1, and such files only cgroup v2")
		return
	}
	fields := b.out // of the request's other fields
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		controller, _, ok := strings.Cut(name, ".")
		if err := checkName(name); err != nil || !ok || controller == "cgroup" || strings.Contains(name, "..") {
			b.invalid("unified file %q: not the name of a limit, such as memory.high", name)
			return
		}
		if slices.ContainsFunc(fields, func(s setting) bool { return s.file == name }) {
			b.invalid("unified file %q: another field of the request sets it too; leave out one of them", name)
			return
		}
		// A file takes one line at a time.
		for line := range strings.SplitSeq(strings.TrimSpace(files[name]), "\n") {
			s := setting{controller: controller, file: name, value: strings.TrimSpace(line), named: true}
			if key, _, ok := strings.Cut(s.value, " "); ok && strings.Contains(key, ":") {
				s.key, s.unset = key, unsetIO(name)
			}
			b.add(s)
		}
	}
}

// unsetIO is what makes the line of a device in a v2 io file as if never written.
func unsetIO(file string) string {
	switch file {
	case "io.max":
		return "rbps=max wbps=max riops=max wiops=max"
	case "io.latency":
		return "target=0"
	}
	return "default"
}
