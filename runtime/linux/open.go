package linux

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Flags of Open and OpenIn beyond those of package os.
const (
	OPath      = unix.O_PATH
	ODirectory = unix.O_DIRECTORY
	ONofollow  = unix.O_NOFOLLOW
	ONonblock  = unix.O_NONBLOCK
	ONoctty    = unix.O_NOCTTY
)

// Open opens a path of the host. Use OpenIn for what an image or a user names.
func Open(name string, flags int) (int, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// OpenIn opens name as if the directory root were "/": neither "..", nor an
// absolute symlink, nor a magic link of /proc leads outside of it.
func OpenIn(root int, name string, flags int, mode uint32) (int, error) {
	return openat2(root, name, flags, mode, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// OpenPlain is OpenIn for a path in which no component may be a symlink.
func OpenPlain(root int, name string, flags int, mode uint32) (int, error) {
	return openat2(root, name, flags, mode, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
}

// OpenBeneath is OpenIn that fails with EXDEV where a symlink or ".." leads out of root
// instead of starting over at root.
func OpenBeneath(root int, name string, flags int) (int, error) {
	return openat2(root, name, flags, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

func openat2(root int, name string, flags int, mode uint32, resolve uint64) (int, error) {
	if name == "" {
		name = "/"
	}
	how := unix.OpenHow{Flags: uint64(uint32(flags) | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: resolve}
	// EAGAIN: something was renamed during the look-up, so that the kernel can't
	// tell whether ".." stays inside.
	const attempts = 128
	var err error
	for range attempts {
		var fd int
		if fd, err = unix.Openat2(root, name, &how); err == nil {
			return fd, nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return -1, fmt.Errorf("open %s: %w", name, err)
}

// MakeIn is OpenIn(root, name, OPath) that makes what is missing: directories
// (mode 0755) and, unless dir, an empty file (mode 0644) at the end. A dangling
// symlink is completed inside root.
func MakeIn(root int, name string, dir bool) (int, error) {
	fd, err := OpenIn(root, name, OPath, 0)
	if err == nil {
		return fd, nil
	}
	w := maker{root: root, at: "/", todo: split(name), dir: dir}
	for len(w.todo) > 0 {
		if err := w.step(); err != nil {
			return -1, fmt.Errorf("make %s: %w", name, err)
		}
	}
	return OpenIn(root, w.at, OPath, 0)
}

// maker walks a path one component at a time.
type maker struct {
	root int
	at   string   // what is resolved so far: no symlink in it
	todo []string // what is not
	hops int
	dir  bool
}

func (w *maker) step() error {
	name := w.todo[0]
	w.todo = w.todo[1:]
	if name == ".." {
		w.at = path.Dir(w.at)
		return nil
	}
	next := path.Join(w.at, name)
	fd, err := OpenIn(w.root, next, OPath|ONofollow, 0)
	if err != nil {
		if err := w.create(name); err != nil {
			return err
		}
		w.at = next
		return nil
	}
	defer Close(fd)
	st, err := Fstat(fd)
	if err != nil {
		return err
	}
	if !st.IsSymlink() {
		w.at = next
		return nil
	}
	const maxHops = 40
	if w.hops++; w.hops > maxHops {
		return unix.ELOOP
	}
	target, err := readlink(fd)
	if err != nil {
		return err
	}
	if path.IsAbs(target) {
		w.at = "/"
	}
	w.todo = append(split(target), w.todo...)
	return nil
}

func (w *maker) create(name string) error {
	parent, err := OpenIn(w.root, w.at, OPath|ODirectory, 0)
	if err != nil {
		return err
	}
	defer Close(parent)
	if len(w.todo) > 0 || w.dir {
		if err := unix.Mkdirat(parent, name, 0o755); err != nil && err != unix.EEXIST {
			return err
		}
		return nil
	}
	fd, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	Close(fd)
	return nil
}

func split(name string) []string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	if n <= 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// Mkdir makes a directory below dir. One that is there already is kept.
func Mkdir(dir int, name string, mode uint32) error {
	if err := unix.Mkdirat(dir, name, mode); err != nil && err != unix.EEXIST {
		return fmt.Errorf("mkdir %s: %w", name, err)
	}
	return nil
}

// Symlink makes a symlink below dir. A name that is taken is left alone.
func Symlink(target string, dir int, name string) error {
	if err := unix.Symlinkat(target, dir, name); err != nil && err != unix.EEXIST {
		return fmt.Errorf("symlink %s: %w", name, err)
	}
	return nil
}

// Create makes a new file below dir with the given content and mode.
func Create(dir int, name string, data []byte, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer Close(fd)
	if err := WriteAll(fd, data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	// Not through open(2): its mode is cut by the umask.
	if err := unix.Fchmod(fd, mode&0o7777); err != nil {
		return fmt.Errorf("chmod %s: %w", name, err)
	}
	return nil
}

// WriteAll writes all of data.
func WriteAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return nil
}

// ReadAll reads fd to its end. More than limit bytes is an error.
func ReadAll(fd int, limit int64) ([]byte, error) {
	if limit < 0 {
		return nil, unix.EINVAL
	}
	buf := make([]byte, 0, 16<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n <= 0:
			return buf, nil
		}
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, unix.EFBIG
		}
	}
}

// ReadIn reads a regular file inside root of at most limit bytes.
func ReadIn(root int, name string, limit int64) ([]byte, error) {
	// Not blocking: a FIFO in an image must not hang its reader.
	fd, err := OpenIn(root, name, os.O_RDONLY|ONonblock|ONoctty, 0)
	if err != nil {
		return nil, err
	}
	defer Close(fd)
	st, err := Fstat(fd)
	if err != nil {
		return nil, err
	}
	if !st.IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", name)
	}
	data, err := ReadAll(fd, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// Preread brings the start of a regular file below root into the page cache
// and says whether there is such a file.
func Preread(root int, name string, limit int64) bool {
	fd, err := OpenIn(root, name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer Close(fd)
	st, err := Fstat(fd)
	if err != nil || !st.IsRegular() {
		return false
	}
	// Only a hint: what it did not read is read when it is needed.
	_ = unix.Fadvise(fd, 0, min(st.Size, limit), unix.FADV_WILLNEED)
	return true
}
