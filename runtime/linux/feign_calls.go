package linux

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errKernel says that the kernel is to carry out a call.
var errKernel = errors.New("the kernel's")

// wish is what a call asks for about a file.
type wish struct {
	dir      int32
	path     uint64 // where it is in the memory of who asks; 0 is none
	flags    uint64
	uid, gid uint32 // of a change
	// answer is where to write, for a call that asks: struct stat, or statx with a mask.
	answer uint64
	statx  bool
	mask   uint32
}

// Numbers of calls.
type callNumbers struct {
	arch                               uint32
	chown, fchown, lchown, fchownat    int32
	stat, fstat, lstat, fstatat, statx int32
}

func ownCalls() callNumbers {
	switch goruntime.GOARCH {
	case "amd64":
		return callNumbers{unix.AUDIT_ARCH_X86_64, 92, 93, 94, 260, 4, 5, 6, 262, 332}
	case "arm64":
		return callNumbers{unix.AUDIT_ARCH_AARCH64, -1, 55, -1, 54, -1, 80, -1, 79, 291}
	case "riscv64":
		return callNumbers{unix.AUDIT_ARCH_RISCV64, -1, 55, -1, 54, -1, 80, -1, 79, 291}
	}
	return callNumbers{}
}

// wishOf reads a call of this machine's own kind.
func (n callNumbers) wishOf(c *call) (wish, bool) {
	dir, uid, gid := int32(c.args[0]), uint32(c.args[1]), uint32(c.args[2]) //nolint:gosec // what is above means nothing
	const here, link, empty = unix.AT_FDCWD, unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH
	if c.arch != n.arch {
		return wish{}, false
	}
	switch c.number {
	case n.chown:
		return wish{dir: here, path: c.args[0], uid: uid, gid: gid}, true
	case n.lchown:
		return wish{dir: here, path: c.args[0], flags: link, uid: uid, gid: gid}, true
	case n.fchown:
		return wish{dir: dir, flags: empty, uid: uid, gid: gid}, true
	case n.fchownat:
		return wish{dir: dir, path: c.args[1], flags: c.args[4], uid: uint32(c.args[2]), gid: uint32(c.args[3])}, true //nolint:gosec // as above
	case n.stat:
		return wish{dir: here, path: c.args[0], answer: c.args[1]}, true
	case n.lstat:
		return wish{dir: here, path: c.args[0], flags: link, answer: c.args[1]}, true
	case n.fstat:
		return wish{dir: dir, flags: empty, answer: c.args[1]}, true
	case n.fstatat:
		return wish{dir: dir, path: c.args[1], flags: c.args[3], answer: c.args[2]}, true
	case n.statx:
		return wish{dir: dir, path: c.args[1], flags: c.args[2], answer: c.args[4], statx: true, mask: uint32(c.args[3])}, true //nolint:gosec // as above
	}
	return wish{}, false
}

// changesOwner says that a call of another kind that this machine knows, of which nothing else
// is understood, changes an owner.
func changesOwner(c *call) bool {
	switch c.arch {
	case unix.AUDIT_ARCH_I386:
		return slices.Contains([]int32{16, 95, 182, 198, 207, 212, 298}, c.number)
	case unix.AUDIT_ARCH_ARM:
		return slices.Contains([]int32{16, 95, 182, 198, 207, 212, 325}, c.number)
	}
	return slices.Contains([]int32{92, 93, 94, 260}, c.number&^x32)
}

// x32 is in the numbers of calls of that kind.
const x32 = 0x40000000

// makesNode says that a call makes a device: the filter hands over no other nodes.
func makesNode(c *call) bool {
	switch c.arch {
	case unix.AUDIT_ARCH_I386:
		return c.number == 14 || c.number == 297
	case unix.AUDIT_ARCH_ARM:
		return c.number == 14 || c.number == 324
	case unix.AUDIT_ARCH_X86_64:
		return c.number&^x32 == 133 || c.number&^x32 == 259
	}
	return c.number == 33
}

// carryOut notes what a call wants, or answers with a note. Only what a change names wrongly
// is an error.
func (f *Feigning) carryOut(own int, c *call) error {
	want, known := f.calls.wishOf(c)
	if !known {
		switch {
		case makesNode(c):
			f.Devices.Add(1)
			return nil
		case changesOwner(c):
			return nil
		}
		return errKernel
	}
	fd, err := openOf(own, int(c.pid), want)
	if want.answer != 0 {
		if err != nil {
			return errKernel
		}
		defer Close(fd)
		return f.answerOwner(fd, int(c.pid), want)
	}
	if err != nil {
		return err
	}
	defer Close(fd)
	var had owner // which a link of the image loses when the overlay copies it
	had.uid, had.gid, _ = f.ownerOf(fd)
	// What the kernel does beside: set-user-ID bits and capabilities go.
	if err := unix.Chown(procFD(fd), 0, 0); errors.Is(err, unix.EROFS) {
		return err
	}
	f.keep(fd, had, want.uid, want.gid)
	return nil
}

// answerOwner says of a file that has a note what the kernel would, but for the owner.
func (f *Feigning) answerOwner(fd, pid int, want wish) error {
	uid, gid, noted := f.ownerOf(fd)
	if !noted {
		return errKernel
	}
	var st unix.Stat_t
	var stx unix.Statx_t
	text := unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))
	err := unix.Fstat(fd, &st)
	st.Uid, st.Gid = uid, gid
	if want.statx {
		text = unsafe.Slice((*byte)(unsafe.Pointer(&stx)), unsafe.Sizeof(stx))
		err = unix.Statx(fd, "", int(want.flags)|unix.AT_EMPTY_PATH, int(want.mask), &stx) //nolint:gosec // flags
		stx.Uid, stx.Gid = uid, gid
	}
	if err != nil {
		return errKernel
	}
	n, err := unix.ProcessVMWritev(pid, []unix.Iovec{{Base: &text[0], Len: uint64(len(text))}},
		[]unix.RemoteIovec{{Base: uintptr(want.answer), Len: len(text)}}, 0)
	if err != nil || n != len(text) {
		return unix.EFAULT
	}
	return nil
}

// openOf opens what a process names, as it would find it.
func openOf(own, pid int, want wish) (int, error) {
	proc := "/proc/" + strconv.Itoa(pid)
	base := proc + "/cwd"
	if want.dir != unix.AT_FDCWD {
		base = proc + "/fd/" + strconv.Itoa(int(want.dir))
	}
	path, err := nameIn(pid, want.path)
	if err != nil {
		return -1, err
	}
	if path == "" && want.flags&unix.AT_EMPTY_PATH == 0 {
		return -1, unix.ENOENT
	}
	dir := unix.AT_FDCWD
	if !strings.HasPrefix(path, "/") {
		dir, err = Open(base, OPath)
		if errors.Is(err, unix.ENOENT) {
			err = unix.EBADF
		}
		if err != nil || path == "" {
			return dir, err
		}
		defer Close(dir)
	}
	root, err := Open(proc+"/root", OPath|ODirectory)
	if err != nil {
		return -1, err
	}
	defer Close(root)
	if err := enterRoot(root); err != nil {
		return -1, err
	}
	flags := unix.O_PATH | unix.O_CLOEXEC
	if want.flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat(dir, path, flags, 0)
	if back := enterRoot(own); back != nil {
		// What comes next would believe the names of somebody else.
		panic("leave a root directory: " + back.Error())
	}
	return fd, err
}

func enterRoot(fd int) error {
	if err := unix.Fchdir(fd); err != nil {
		return err
	}
	return unix.Chroot(".")
}

// nameIn reads a string of a process.
func nameIn(pid int, at uint64) (string, error) {
	if at == 0 {
		return "", nil
	}
	var text []byte
	for len(text) < unix.PathMax {
		// Up to the end of a page: the next one may not be there.
		const page = 4096
		some := make([]byte, page-at%page)
		n, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &some[0], Len: uint64(len(some))}},
			[]unix.RemoteIovec{{Base: uintptr(at), Len: len(some)}}, 0)
		if err != nil || n <= 0 {
			return "", fmt.Errorf("read a name: %w", unix.EFAULT)
		}
		if end := strings.IndexByte(string(some[:n]), 0); end >= 0 {
			return string(append(text, some[:end]...)), nil
		}
		text = append(text, some[:n]...)
		at += uint64(n)
	}
	return "", unix.ENAMETOOLONG
}
