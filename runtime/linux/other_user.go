package linux

import (
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// OtherUser has a process be another user, by the numbers of /etc/passwd and
// /etc/group, in a session of its own: it has no terminal.
func OtherUser(uid, gid string, groups []string) (*syscall.SysProcAttr, error) {
	ids := make([]uint32, 0, 2+len(groups)) //nolint:mnd // the two before
	for _, text := range append([]string{uid, gid}, groups...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("id %q: %w", text, err)
		}
		ids = append(ids, uint32(n))
	}
	return &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}, Setsid: true, Pdeathsig: unix.SIGKILL,
	}, nil
}

// Lstat describes what is at a path, also a symlink.
func Lstat(path string) (Stat, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Stat{}, fmt.Errorf("open %s: %w", path, err)
	}
	defer FD(fd).Close() //nolint:errcheck // a path alone
	return Fstat(fd)
}
