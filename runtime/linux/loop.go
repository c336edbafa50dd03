package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Loop is an open loop device. It frees itself once it is neither open nor mounted.
type Loop struct {
	Number int
	fd     int
}

// Device is the path of the device node.
func (l *Loop) Device() string { return "/dev/loop" + strconv.Itoa(l.Number) }

// Close gives up this user's hold. A mount of the device keeps it.
func (l *Loop) Close() { Close(l.fd) }

// AttachLoop returns a read-only loop device over size bytes of the open file
// image from offset on. Whoever asks for the same bytes of the same file gets the
// same device while it is in use, so that mounts of it share one superblock and
// one page cache; concurrent callers agree on one device.
//
// A device made with direct reads the file past the page cache where the file
// system can: what is mounted has a cache of its own, and the same bytes need not
// be held twice. Without direct a file stays cached when its last mount goes.
//
// What is mounted with an SELinux label has devices of its own: one superblock can't
// have two.
func AttachLoop(image int, offset, size int64, direct bool, label string) (*Loop, error) {
	want, err := newBacking(image, offset, size)
	want.label = label
	if err != nil {
		return nil, err
	}
	if l, err := want.find(); l != nil || err != nil {
		return l, err
	}
	control, err := Open("/dev/loop-control", os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer Close(control)
	// One at a time, and look again: somebody may have made it meanwhile. The
	// lock goes with the descriptor.
	if err := retry(func() error { return unix.Flock(control, unix.LOCK_EX) }); err != nil {
		return nil, fmt.Errorf("lock /dev/loop-control: %w", err)
	}
	if l, err := want.find(); l != nil || err != nil {
		return l, err
	}
	// Others (losetup, udisks) don't take our lock and may win a free device.
	const attempts = 64
	for range attempts {
		var l *Loop
		l, err = want.create(control, direct)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
	}
	return nil, err
}

// backing identifies what a loop device shows.
type backing struct {
	image        int
	dev, ino     uint64
	offset, size uint64
	label        string
}

// loopLabel comes before the label in the name that a device keeps for its maker.
const loopLabel = "label:"

func newBacking(image int, offset, size int64) (backing, error) {
	st, err := Fstat(image)
	if err != nil {
		return backing{}, err
	}
	if offset < 0 || size <= 0 || offset > st.Size || size > st.Size-offset {
		return backing{}, fmt.Errorf("offset %d, size %d: not within the %d bytes of the image: %w",
			offset, size, st.Size, unix.EINVAL)
	}
	return backing{image: image, dev: st.Dev, ino: st.Ino, offset: uint64(offset), size: uint64(size)}, nil
}

const loopMajor = 7

// find looks for a device that shows these bytes already. /proc/partitions lists
// the devices in use with their sizes in one read, which leaves few to ask.
func (b backing) find() (*Loop, error) {
	fd, err := Open("/proc/partitions", os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer Close(fd)
	const limit = 64 << 20
	table, err := ReadAll(fd, limit)
	if err != nil {
		return nil, fmt.Errorf("read /proc/partitions: %w", err)
	}
	blocks := b.size >> 10
	for len(table) > 0 {
		line, rest, _ := bytes.Cut(table, []byte{'\n'})
		table = rest
		major, line := number(line)
		if major != loopMajor {
			continue
		}
		_, line = number(line) // the minor: not the number when partitions are on
		size, line := number(line)
		if size != blocks {
			continue
		}
		n, rest := number(bytes.TrimPrefix(bytes.TrimLeft(line, " "), []byte("loop")))
		if len(rest) > 0 { // a partition, loop0p1
			continue
		}
		if l := b.open(int(n)); l != nil {
			return l, nil
		}
	}
	return nil, nil //nolint:nilnil // no device is the usual case
}

// number cuts an unsigned number, after blanks, off the start of line.
func number(line []byte) (uint64, []byte) {
	i := 0
	for i < len(line) && line[i] == ' ' {
		i++
	}
	var n uint64
	for ; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
		n = n*10 + uint64(line[i]-'0')
	}
	return n, line[i:]
}

// open opens loop device n if it shows these bytes. While it is open the kernel
// does not free it.
func (b backing) open(n int) *Loop {
	l := &Loop{Number: n}
	fd, err := Open(l.Device(), os.O_RDONLY)
	if err != nil {
		return nil
	}
	l.fd = fd
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil && info.Device == b.dev && info.Inode == b.ino &&
		info.Offset == b.offset && info.Sizelimit == b.size &&
		b.labelled(info) && info.Flags&unix.LO_FLAGS_READ_ONLY != 0 && info.Flags&unix.LO_FLAGS_AUTOCLEAR != 0 {
		return l
	}
	Close(fd)
	return nil
}

// labelled says that a device is for the same label.
func (b backing) labelled(info *unix.LoopInfo64) bool {
	name := unix.ByteSliceToString(info.File_name[:])
	if b.label == "" {
		return !strings.HasPrefix(name, loopLabel)
	}
	return name == b.name()
}

// name has to end with a NUL.
func (b backing) name() string {
	name := loopLabel + b.label
	return name[:min(len(name), unix.LO_NAME_SIZE-1)]
}

// AttachWritableLoop returns a loop device of the caller's own over the bytes of a file that
// is open for writing. Who else may use the file is the caller's to see to: a lock of the
// open file lasts as long as the device.
func AttachWritableLoop(image int, offset, size int64) (*Loop, error) {
	want, err := newBacking(image, offset, size)
	if err != nil {
		return nil, err
	}
	control, err := Open("/dev/loop-control", os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer Close(control)
	const attempts = 64 // others may win a free device
	for range attempts {
		var l *Loop
		l, err = want.configure(control, unix.LO_FLAGS_AUTOCLEAR)
		if err == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENXIO) {
			return l, err
		}
	}
	return nil, err
}

func (b backing) create(control int, direct bool) (*Loop, error) {
	flags := uint32(unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR)
	if direct {
		flags |= unix.LO_FLAGS_DIRECT_IO
	}
	return b.configure(control, flags)
}

func (b backing) configure(control int, flags uint32) (*Loop, error) {
	n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("find a free loop device: %w", err)
	}
	l := &Loop{Number: n}
	l.fd, err = Open(l.Device(), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(b.image)}
	config.Info.Offset = b.offset
	config.Info.Sizelimit = b.size
	config.Info.Flags = flags
	if b.label != "" {
		copy(config.Info.File_name[:], b.name())
	}
	if err := unix.IoctlLoopConfigure(l.fd, &config); err != nil {
		Close(l.fd)
		return nil, fmt.Errorf("configure %s: %w", l.Device(), err)
	}
	return l, nil
}
