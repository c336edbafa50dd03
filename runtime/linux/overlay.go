package linux

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// fsconfigValue is how long the text of one option of a new mount may be.
const fsconfigValue = 255

// Overlay is an overlay file system to be mounted.
type Overlay struct {
	// Lower are the directories below, the highest first. No name may hold a
	// colon or a comma.
	Lower []string
	// Options are other options, such as "upperdir=2". No value but that of "context"
	// may hold a comma.
	Options []string
}

// MountAt mounts the overlay at the directory named target, relative to the
// working directory, and returns the root directory of the mount.
func (o Overlay) MountAt(target string, a Attr) (int, error) {
	lower := strings.Join(o.Lower, ":")
	if len(lower) <= fsconfigValue {
		return o.attach(lower, target, a)
	}
	// Linux takes the layers one by one from 6.8 on only. Mounting the old way
	// takes a page of options, which is enough for all that it can stack.
	var flags uintptr
	for flag, set := range map[uintptr]bool{
		unix.MS_RDONLY: a.Readonly, unix.MS_NOSUID: a.NoSuid, unix.MS_NODEV: a.NoDev, unix.MS_NOEXEC: a.NoExec,
	} {
		if set {
			flags |= flag
		}
	}
	words := []string{"lowerdir=" + lower}
	for _, option := range o.Options {
		if label, ok := strings.CutPrefix(option, "context="); ok {
			option = `context="` + label + `"` // it may hold commas
		}
		words = append(words, option)
	}
	options := strings.Join(words, ",")
	if err := unix.Mount("overlay", target, "overlay", flags, options); err != nil {
		return -1, fmt.Errorf("overlay of %d layers: %w", len(o.Lower), err)
	}
	root, err := Open(target, OPath|ODirectory)
	if err != nil || a.Propagation == 0 {
		return root, err
	}
	if err := MountSetattr(root, Attr{Propagation: a.Propagation}, false); err != nil {
		Close(root)
		return -1, err
	}
	return root, nil
}

func (o Overlay) attach(lower, target string, a Attr) (int, error) {
	mount, err := NewMount("overlay", append([]string{"source=overlay", "lowerdir=" + lower}, o.Options...), a)
	if err != nil {
		return -1, err
	}
	at, err := Open(target, OPath|ODirectory)
	if err == nil {
		err = MoveMount(mount, at)
		Close(at)
	}
	if err != nil {
		Close(mount)
		return -1, err
	}
	return mount, nil
}
