package cgroups

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Details are what few ask for.
type Details struct {
	// Kernel is the kernel's memory for the group, Peak the most memory that it
	// ever used, in bytes.
	Kernel, Peak uint64
	// LimitHits counts how often the limit of memory was reached, OOMKills the
	// processes that the kernel killed for want of it.
	LimitHits, OOMKills uint64
	Devices             []DeviceIO
	Hugepages           []Hugepages
}

// DeviceIO is the traffic with one block device, which Major and Minor number.
type DeviceIO struct {
	Major, Minor uint64
	IO
}

// BlockDevice is a block device's path, or "major:minor" if the kernel has no name for it.
func BlockDevice(major, minor uint64) string {
	number := strconv.FormatUint(major, 10) + ":" + strconv.FormatUint(minor, 10)
	to, err := os.Readlink("/sys/dev/block/" + number)
	if err != nil {
		return number
	}
	return "/dev/" + path.Base(to)
}

// Hugepages is the use of huge pages of one size, such as 2MB, in bytes.
type Hugepages struct {
	Size        string
	Usage, Peak uint64
	KnowsPeak   bool // not on v2
}

func (g *Group) detailsV1(r *reader, s *Stats) {
	d := s.Details
	if r.in(g, "memory") {
		d.Kernel, _ = r.number("memory.kmem.usage_in_bytes")
		d.Peak = r.fact(s, KnowsPeak, "memory.max_usage_in_bytes")
		d.LimitHits, _ = r.number("memory.failcnt")
	}
	if r.in(g, "blkio") {
		d.devicesV1(r, "blkio.throttle.io_service_bytes_recursive", func(io *IO) (read, write *uint64) {
			return &io.ReadBytes, &io.WriteBytes
		})
		d.devicesV1(r, "blkio.throttle.io_serviced_recursive", func(io *IO) (read, write *uint64) {
			return &io.ReadOps, &io.WriteOps
		})
	}
	g.oomKills(s)
	g.hugepages(s, r, "hugetlb", ".usage_in_bytes", ".max_usage_in_bytes")
}

func (g *Group) detailsV2(r *reader, s *Stats) {
	d := s.Details
	d.Peak = r.fact(s, KnowsPeak, "memory.peak")
	for data := r.file("memory.events"); len(data) > 0; {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		if string(key) == "max" {
			d.LimitHits = value
		}
	}
	for data := r.file("io.stat"); len(data) > 0; {
		var row []byte
		row, data = cutLine(data)
		name, row := cutWord(row)
		one := DeviceIO{}
		one.add(row)
		if one.Major, one.Minor = device(name); one.IO != (IO{}) {
			d.Devices = append(d.Devices, one)
		}
	}
	g.oomKills(s)
	g.hugepages(s, r, "", ".current", "")
}

func (g *Group) oomKills(s *Stats) {
	if n, err := g.OOMKills(); err == nil {
		s.Details.OOMKills = n
		s.Known |= KnowsOOM
	}
}

func (d *Details) devicesV1(r *reader, file string, pick func(*IO) (read, write *uint64)) {
	for data := r.file(file); len(data) > 0; {
		var row []byte
		row, data = cutLine(data)
		name, row := cutWord(row)
		op, row := cutWord(row)
		n, ok := parseUint(row)
		if !ok || n == 0 || string(op) != "Read" && string(op) != "Write" {
			continue
		}
		major, minor := device(name)
		at := slices.IndexFunc(d.Devices, func(one DeviceIO) bool { return one.Major == major && one.Minor == minor })
		if at < 0 {
			at = len(d.Devices)
			d.Devices = append(d.Devices, DeviceIO{Major: major, Minor: minor})
		}
		read, write := pick(&d.Devices[at].IO)
		if string(op) == "Write" {
			read = write
		}
		*read = n
	}
}

// device reads "major:minor".
func device(name []byte) (major, minor uint64) {
	before, after, _ := bytes.Cut(name, []byte{':'})
	major, _ = parseUint(before)
	minor, _ = parseUint(after)
	return major, minor
}

// hugepages reads the use of every size that the machine has.
func (g *Group) hugepages(s *Stats, r *reader, controller, usage, peak string) {
	if g.m.find("hugetlb") == nil || !r.in(g, controller) {
		return
	}
	sizes, err := os.ReadDir("/sys/kernel/mm/hugepages")
	if err != nil {
		return // none
	}
	for _, size := range sizes {
		name := hugepageName(size.Name())
		used, ok := r.number("hugetlb." + name + usage)
		if !ok {
			continue
		}
		one := Hugepages{Size: name, Usage: used}
		if peak != "" {
			one.Peak, one.KnowsPeak = r.number("hugetlb." + name + peak)
		}
		s.Details.Hugepages = append(s.Details.Hugepages, one)
	}
}

// hugepageName turns hugepages-2048kB into 2MB, as the files of groups are named.
func hugepageName(dir string) string {
	kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(dir, "hugepages-"), "kB"))
	switch {
	case err != nil:
		return dir
	case kb >= 1<<20:
		return strconv.Itoa(kb>>20) + "GB"
	case kb >= 1<<10:
		return strconv.Itoa(kb>>10) + "MB"
	default:
		return strconv.Itoa(kb) + "KB"
	}
}
