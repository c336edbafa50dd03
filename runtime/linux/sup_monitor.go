package linux

import (
	"slices"

	"golang.org/x/sys/unix"
)

// CalmMonitor has the kernel wake Go's monitor thread, the first that the runtime makes,
// less often. While anything runs it wants to be woken every 20 µs, to find other work
// for a processor whose thread is in a system call. A process of one thread has none.
func CalmMonitor() {
	const slack = "1000000" // ns; the main thread's, which programs inherit, stays as it is
	var own [32]byte
	length, err := unix.Readlink("/proc/self", own[:]) // by the number that /proc has for it
	if err != nil {
		return
	}
	dir, err := openFD("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	defer dir.Close() //nolint:errcheck // read only
	var b [1024]byte
	n, err := unix.ReadDirent(int(dir), b[:])
	if err != nil {
		return
	}
	_, _, threads := unix.ParseDirent(b[:n], -1, make([]string, 0, 8)) //nolint:mnd // more than there are
	others := slices.DeleteFunc(threads, func(id string) bool { return id == string(own[:length]) })
	if len(others) > 0 {
		_ = Put("/proc/"+others[0]+"/timerslack_ns", slack) // without it all takes a little longer
	}
}
