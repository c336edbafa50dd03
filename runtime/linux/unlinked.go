package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessID is a process of this boot: numbers are used again, together with a start they
// are not.
type ProcessID struct {
	PID   int
	Start uint64 // in ticks after the boot
}

// Identify says which process has a number now; ErrNoProcess is none.
func Identify(pid int) (ProcessID, error) {
	const longest = 4 << 10
	text, err := Slurp("/proc/"+strconv.Itoa(pid)+"/stat", longest)
	if errors.Is(err, unix.ENOENT) {
		err = ErrNoProcess
	}
	if err != nil {
		return ProcessID{}, fmt.Errorf("process %d: %w", pid, err)
	}
	// After the name, which may hold anything: see proc_pid_stat(5).
	const first, start = 3, 22
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= start-first {
		return ProcessID{}, fmt.Errorf("process %d: its stat file is incomplete", pid)
	}
	id := ProcessID{PID: pid}
	id.Start, err = strconv.ParseUint(string(fields[start-first]), 10, 64)
	return id, err
}

// ending is how long the rest of a process may take to end when its files are gone.
const ending = 5 * time.Second

// DialProcess connects to the unix socket that a process listens on, whatever has become
// of the socket's name. ErrNoProcess says that the process has ended.
func DialProcess(id ProcessID) (FD, error) {
	process, err := OpenProcess(id.PID)
	if err != nil {
		return NoFD, err
	}
	defer process.Close() //nolint:errcheck // nothing is written to it
	now, err := Identify(id.PID)
	if err == nil && (now != id || process.Readable()) {
		err = ErrNoProcess
	}
	if err != nil {
		return NoFD, err
	}
	place, err := process.listensAt(id.PID)
	if errors.Is(err, unix.EPERM) { // it takes privileges over the network namespace
		place, err = keptPlace(id.PID)
	}
	if err != nil {
		// Its files go first when a process ends.
		if process.ReadableWithin(ending) {
			err = ErrNoProcess
		}
		return NoFD, err
	}
	defer place.Close() //nolint:errcheck // nor to it
	return dialPlace("of process "+strconv.Itoa(id.PID), func(connect func(*unix.SockaddrUnix) error) error {
		return connect(&unix.SockaddrUnix{Name: fdPath(place)})
	})
}

// listensAt is the place where a process's first unix socket that listens is bound.
func (f FD) listensAt(pid int) (FD, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return NoFD, err
	}
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		if err != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		number, _ := strconv.Atoi(e.Name())
		n, err := unix.PidfdGetfd(int(f), number, 0)
		if errors.Is(err, unix.EBADF) {
			continue
		}
		if err != nil {
			return NoFD, fmt.Errorf("take a descriptor of process %d: %w", pid, err)
		}
		place, err := FD(n).boundAt()
		_ = FD(n).Close() // a copy
		if place != NoFD || err != nil {
			return place, err
		}
	}
	return NoFD, fmt.Errorf("process %d listens on no unix socket", pid)
}

// boundAt opens the place of a unix socket that listens; NoFD is another kind of socket.
func (f FD) boundAt() (FD, error) {
	domain, err := unix.GetsockoptInt(int(f), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return NoFD, err
	}
	listens, err := unix.GetsockoptInt(int(f), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listens == 0 {
		return NoFD, err
	}
	const place = 0x89e0 // SIOCUNIXFILE
	n, err := unix.IoctlRetInt(int(f), place)
	if err != nil {
		return NoFD, fmt.Errorf("open the place of a unix socket: %w", err)
	}
	return FD(n), nil
}

// keptPlace is the place of a unix socket that a process keeps by KeepPlace.
func keptPlace(pid int) (FD, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return NoFD, err
	}
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		if err != nil || strings.HasPrefix(to, "socket:") { // a socket, not its place
			continue
		}
		place, err := openFD(dir+e.Name(), unix.O_PATH, 0)
		if err != nil {
			continue // closed meanwhile
		}
		if place.Kind() == KindSocket {
			return place, nil
		}
		_ = place.Close() // nothing was written
	}
	return NoFD, fmt.Errorf("process %d keeps the place of no unix socket: its name is lost for good", pid)
}
