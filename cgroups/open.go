package cgroups

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mountPoint is a hierarchy's root, opened once when it is first needed.
type mountPoint struct {
	once sync.Once
	file *os.File
	err  error
}

func (m *mountPoint) open(path string) (int, error) {
	m.once.Do(func() {
		m.file, m.err = os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	})
	if m.err != nil {
		return -1, m.err
	}
	return int(m.file.Fd()), nil
}

// openRead opens a path below dir that ends in a zero byte. unix.Openat would copy
// it to the heap, which for a thousand files per call is most of the garbage.
func openRead(dir int, path []byte) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir),
			uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return -1, errno
		}
		return int(fd), nil
	}
}
