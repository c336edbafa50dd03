package linux

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// CapSet is a set of capabilities, bit n being capability n.
type CapSet uint64

// Caps are the capability sets of a thread.
type Caps struct {
	Effective, Permitted, Inheritable, Bounding, Ambient CapSet
}

func capNames() []string {
	return strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
		LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
		SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
		SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
		WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
}

// ParseCaps turns names ("CAP_CHOWN", "chown") into a set. Names this program
// does not know are an error.
func ParseCaps(names []string) (CapSet, error) {
	if len(names) == 0 {
		return 0, nil
	}
	known := capNames()
	var set CapSet
next:
	for _, name := range names {
		bare := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		for i, k := range known {
			if k == bare {
				set |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("unknown capability %q: %w", name, unix.EINVAL)
	}
	return set, nil
}

// Names lists the set, "CAP_CHOWN" first.
func (s CapSet) Names() []string {
	var names []string
	for i, name := range capNames() {
		if s&(1<<i) != 0 {
			names = append(names, "CAP_"+name)
		}
	}
	return names
}

// PermittedCaps is what the calling thread may put into its other sets.
func PermittedCaps() (CapSet, error) {
	header, data := capHeader(), [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return CapSet(data[0].Permitted) | CapSet(data[1].Permitted)<<32, nil
}

func capHeader() unix.CapUserHeader {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

// DropBounding takes all but keep out of the calling thread's bounding set.
func DropBounding(keep CapSet) error {
	const highest = 63
	for i := uintptr(0); i <= highest; i++ {
		if keep&(1<<i) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, i, 0, 0, 0)
		if err == unix.EINVAL {
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", i, err)
		}
	}
	return nil
}

// Capset sets the calling thread's effective, permitted, inheritable and ambient
// capabilities.
func Capset(c Caps) error {
	header, data := capHeader(), [2]unix.CapUserData{}
	data[0] = unix.CapUserData{
		Effective: uint32(c.Effective), Permitted: uint32(c.Permitted), Inheritable: uint32(c.Inheritable),
	}
	data[1] = unix.CapUserData{
		Effective: uint32(c.Effective >> 32), Permitted: uint32(c.Permitted >> 32), Inheritable: uint32(c.Inheritable >> 32),
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	for i := uintptr(0); c.Ambient>>i != 0; i++ {
		if c.Ambient&(1<<i) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i, 0, 0); err != nil {
			return fmt.Errorf("raise ambient capability %d: %w", i, err)
		}
	}
	return nil
}
