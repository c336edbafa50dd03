package linux

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MountPoint is a line of a mount table.
type MountPoint struct {
	At string // where it is
	FS string // its type
}

// Mounts reads the text of a /proc/PID/mountinfo; see proc_pid_mountinfo(5).
func Mounts(mountinfo string) []MountPoint {
	var out []MountPoint
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		const at = 4
		if !found || len(fields) <= at {
			continue
		}
		fs, _, _ := strings.Cut(strings.TrimSpace(after), " ")
		out = append(out, MountPoint{At: unescape(fields[at]), FS: fs})
	}
	return out
}

// unescape undoes what the table does to blanks and backslashes: \040 and so on.
func unescape(s string) string {
	const digits = 3
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		n, err := strconv.ParseUint(after[:min(digits, len(after))], 8, 8)
		if err != nil || len(after) < digits {
			out.WriteByte('\\')
			s = after
			continue
		}
		out.WriteByte(byte(n))
		s = after[digits:]
	}
}

// PathOf is the path by which the open file fd can be reached.
func PathOf(fd int) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
