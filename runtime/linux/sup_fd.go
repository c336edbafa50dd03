package linux

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// The error numbers an event loop branches on; compare with errors.Is.
const (
	ErrAgain     = unix.EAGAIN
	ErrPipe      = unix.EPIPE
	ErrIO        = unix.EIO
	ErrPerm      = unix.EPERM
	ErrNoEntry   = unix.ENOENT
	ErrNoProcess = unix.ESRCH
	ErrNoDevice  = unix.ENODEV
	ErrRefused   = unix.ECONNREFUSED
)

// FD is a bare file descriptor: no finalizer, no poller, no allocation. Its
// owner closes it. All descriptors made here are close-on-exec.
type FD int

// NoFD is no descriptor; closing it does nothing.
const NoFD FD = -1

// Read reads once. An interrupted call is repeated.
func (f FD) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		if err == unix.EINTR {
			continue
		}
		return max(n, 0), err
	}
}

// Write writes once. An interrupted call is repeated.
func (f FD) Write(p []byte) (int, error) {
	for {
		n, err := unix.Write(int(f), p)
		if err == unix.EINTR {
			continue
		}
		return max(n, 0), err
	}
}

// Close closes the descriptor.
func (f FD) Close() error {
	if f < 0 {
		return nil
	}
	return unix.Close(int(f))
}

// SetNonblock sets O_NONBLOCK on the open file (shared with whoever shares it).
func (f FD) SetNonblock() error { return unix.SetNonblock(int(f), true) }

// Reopen opens the same file anew, so that O_NONBLOCK set on the result is not
// shared with other holders of f. Sockets can't be reopened.
func (f FD) Reopen(write bool) (FD, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_WRONLY
	}
	return openFD(fdPath(f), flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

func fdPath(f FD) string { return "/proc/self/fd/" + strconv.Itoa(int(f)) }

// Kind is what a descriptor refers to.
type Kind int

// Kinds of files.
const (
	KindOther Kind = iota
	KindRegular
	KindPipe
	KindChar
	KindSocket
)

// Kind reports what f refers to.
func (f FD) Kind() Kind {
	var st unix.Stat_t
	if unix.Fstat(int(f), &st) != nil {
		return KindOther
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return KindRegular
	case unix.S_IFIFO:
		return KindPipe
	case unix.S_IFCHR:
		return KindChar
	case unix.S_IFSOCK:
		return KindSocket
	}
	return KindOther
}

// Dup returns another descriptor, above those of stdio and its like, for the
// same open file.
func (f FD) Dup() (FD, error) { return f.dupFrom(10) }

// dupFrom is Dup with the lowest number that the descriptor may have.
func (f FD) dupFrom(number int) (FD, error) {
	n, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, number)
	if err != nil {
		return NoFD, fmt.Errorf("dup: %w", err)
	}
	return FD(n), nil
}

// Size is that of a regular file; zero if it can't be told.
func (f FD) Size() int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f), &st) != nil {
		return 0
	}
	return st.Size
}

// SetSize sets the window size of a terminal.
func (f FD) SetSize(rows, cols uint16) error {
	return unix.IoctlSetWinsize(int(f), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

func openFD(path string, flags int, mode uint32) (FD, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return NoFD, fmt.Errorf("open %s: %w", path, err)
		}
		return FD(fd), nil
	}
}

// OpenRead opens path for reading.
func OpenRead(path string) (FD, error) { return openFD(path, unix.O_RDONLY, 0) }

// OpenExe opens the calling process's program to be executed.
func OpenExe() (FD, error) { return openFD("/proc/self/exe", unix.O_PATH, 0) }

// OpenNull opens /dev/null for reading and writing.
func OpenNull() (FD, error) { return openFD("/dev/null", unix.O_RDWR, 0) }

// OpenAgain opens the same file anew, for reading and writing.
func (f FD) OpenAgain() (FD, error) { return openFD(fdPath(f), unix.O_RDWR, 0) }

// ReadAgain opens the same file anew, for reading from its start.
func (f FD) ReadAgain() (FD, error) { return openFD(fdPath(f), unix.O_RDONLY, 0) }

// OpenAppend opens path for appending and says whether it made the file. It
// never waits, also not for a reader of a named pipe.
func OpenAppend(path string, mode uint32) (fd FD, created bool, err error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NOCTTY | unix.O_NONBLOCK
	fd, err = openFD(path, flags|unix.O_CREAT|unix.O_EXCL, mode)
	if errors.Is(err, unix.EEXIST) {
		fd, err = openFD(path, flags|unix.O_CREAT, mode)
		return fd, false, err
	}
	return fd, err == nil, err
}

// OpenWrite opens path for writing from its start, making it if need be.
func OpenWrite(path string, mode uint32) (FD, error) {
	return openFD(path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW, mode)
}

// OpenWriteOnly opens an existing file such as one of a cgroup for writing.
func OpenWriteOnly(path string) (FD, error) { return openFD(path, unix.O_WRONLY, 0) }

// Truncate cuts the file off at size.
func (f FD) Truncate(size int64) error { return unix.Ftruncate(int(f), size) }

// Rename renames a file over another.
func Rename(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return fmt.Errorf("rename %s: %w", to, err)
	}
	return nil
}

// Unlink removes a file; one that is not there is no error.
func Unlink(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unlink %s: %w", path, err)
	}
	return nil
}

// Slurp reads a whole small file, at most limit bytes of it.
func Slurp(path string, limit int) ([]byte, error) {
	fd, err := OpenRead(path)
	if err != nil {
		return nil, err
	}
	defer fd.Close() //nolint:errcheck // read only
	return fd.Slurp(limit)
}

// Slurp reads to the end, at most limit bytes.
func (f FD) Slurp(limit int) ([]byte, error) {
	out := make([]byte, 0, min(limit, 512))
	for len(out) < limit {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := f.Read(out[len(out):min(cap(out), limit)])
		out = out[:len(out)+n]
		if err != nil || n == 0 {
			return out, err
		}
	}
	return out, nil
}

// Put writes text to an existing file such as one of /proc or a cgroup.
func Put(path, text string) error {
	fd, err := openFD(path, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fd.Write([]byte(text))
	return errors.Join(err, fd.Close())
}

// NewPipe makes a pipe whose ends are blocking.
func NewPipe() (r, w FD, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return NoFD, NoFD, fmt.Errorf("pipe: %w", err)
	}
	return FD(p[0]), FD(p[1]), nil
}

// MemFile makes an unnamed file in memory holding data, positioned at its start.
func MemFile(name string, data []byte) (FD, error) {
	n, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return NoFD, fmt.Errorf("memfd: %w", err)
	}
	fd := FD(n)
	for off := 0; off < len(data); {
		n, err := unix.Pwrite(n, data[off:], int64(off))
		if err != nil {
			return NoFD, errors.Join(fmt.Errorf("memfd: %w", err), fd.Close())
		}
		off += n
	}
	return fd, nil
}

// Scratch maps n bytes of memory outside of Go's heap.
func Scratch(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", n, err)
	}
	return b, nil
}

// DropScratch gives the memory back to the kernel; b stays usable and is zero.
func DropScratch(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }

// FreeScratch unmaps what Scratch returned.
func FreeScratch(b []byte) error { return unix.Munmap(b) }
