package cgroups

import (
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (b *builder) block(io *specs.LinuxBlockIO) {
	if io == nil {
		return
	}
	b.refuse("blkio leaf weight", io.LeafWeight != nil && *io.LeafWeight != 0)
	if io.Weight != nil && *io.Weight != 0 {
		b.weight("", *io.Weight)
	}
	for _, d := range io.WeightDevice {
		b.refuse("blkio leaf weight", d.LeafWeight != nil && *d.LeafWeight != 0)
		if d.Weight != nil && *d.Weight != 0 {
			b.weight(deviceKey(d.Major, d.Minor), *d.Weight)
		}
	}
	b.throttle("read_bps", "rbps", io.ThrottleReadBpsDevice)
	b.throttle("write_bps", "wbps", io.ThrottleWriteBpsDevice)
	b.throttle("read_iops", "riops", io.ThrottleReadIOPSDevice)
	b.throttle("write_iops", "wiops", io.ThrottleWriteIOPSDevice)
}

// weight sets the share of one device, or of all for no key. Which file does
// that depends on the I/O schedulers in the kernel.
func (b *builder) weight(key string, w uint16) {
	if w < 10 || w > 1000 {
		b.invalid("block I/O weight %d is not from 10 to 1000", w)
		return
	}
	n := strconv.Itoa(int(w))
	switch {
	case b.v1() && key == "":
		old := &setting{controller: "blkio", file: "blkio.weight", value: n}
		b.add(setting{controller: "blkio", file: "blkio.bfq.weight", value: n, or: old})
	case b.v1():
		old := &setting{controller: "blkio", file: "blkio.weight_device", value: key + " " + n, key: key, unset: "0"}
		b.add(setting{
			controller: "blkio", file: "blkio.bfq.weight_device", value: key + " " + n, key: key, unset: "0", or: old,
		})
	default:
		if key == "" {
			key = "default"
		}
		// io.weight is of the iocost policy and goes from 1 to 10000.
		cost := key + " " + strconv.Itoa(1+(int(w)-10)*9999/990)
		other := &setting{controller: "io", file: "io.weight", value: cost, key: key, unset: "default"}
		b.add(setting{
			controller: "io", file: "io.bfq.weight", value: key + " " + n, key: key, unset: "default", or: other,
		})
	}
}

func (b *builder) throttle(v1, v2 string, devices []specs.LinuxThrottleDevice) {
	for _, d := range devices {
		if b.v1() {
			if d.Rate != 0 || b.m.find("blkio") != nil {
				key := deviceKey(d.Major, d.Minor)
				b.add(setting{
					controller: "blkio", file: "blkio.throttle." + v1 + "_device",
					value: key + " " + strconv.FormatUint(d.Rate, 10), key: key, unset: "0",
				})
			}
			continue
		}
		if d.Rate != 0 || b.m.find("io") != nil {
			key, rate := deviceKey(d.Major, d.Minor), "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			b.add(setting{
				controller: "io", file: "io.max",
				value: key + " " + v2 + "=" + rate, key: key, unset: unsetIO("io.max"),
			})
		}
	}
}

func deviceKey(major, minor int64) string { return fmt.Sprintf("%d:%d", major, minor) }
