package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// arguments are what is served, how, and where.
type arguments struct {
	image    string
	device   linux.FD
	offset   int64
	uid, gid *uint32
	// preload are files of which the first that is there will be read.
	preload []string
	// owners tells who owned a file in the image: see linux.OwnerNote.
	owners bool
}

func parseArguments(args []string) (arguments, error) {
	var a arguments
	var names []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "-f", arg == "-s":
		case arg == "-o":
			if len(args) == 0 {
				return a, errors.New("-o without options")
			}
			arg, args = "-o"+args[0], args[1:]
			fallthrough
		case strings.HasPrefix(arg, "-o"):
			if err := a.options(arg[2:]); err != nil {
				return a, err
			}
		case strings.HasPrefix(arg, "-"):
			return a, fmt.Errorf("unknown option %s", arg)
		default:
			names = append(names, arg)
		}
	}
	const needed = 2
	if len(names) < needed {
		return a, fmt.Errorf("it takes an image and a descriptor, not %d arguments", len(names))
	}
	device, ok := descriptor(names[1], "/dev/fd/")
	if !ok {
		return a, fmt.Errorf("%s is not /dev/fd/ and a descriptor of /dev/fuse: make the mount first", names[1])
	}
	a.image, a.device, a.preload = names[0], device, names[needed:]
	return a, nil
}

// options takes those of -o.
func (a *arguments) options(list string) error {
	for option := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "offset":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 63)
			a.offset = int64(n) //nolint:gosec // it has 63 bits
		case "uid":
			a.uid, err = id(value)
		case "gid":
			a.gid, err = id(value)
		case "owners":
			a.owners = true
		default:
			if !ofMount(key) {
				return fmt.Errorf("unknown option %q", option)
			}
		}
		if err != nil {
			return fmt.Errorf("option %q: %w", option, err)
		}
	}
	return nil
}

// ofMount says that an option is for the mount, which is made, or for how it is served,
// which it is in one way only.
func ofMount(key string) bool {
	return key == "" || slices.Contains([]string{
		"allow_other", "allow_root", "default_permissions", "ro", "nodev", "nosuid", "noexec", "noatime", "nonempty", "fsname", "subtype",
		"max_read", "dev", "suid", "exec", "auto_unmount", "clone_fd", "max_idle_threads", "max_threads", "timeout", "kernel_cache",
		"auto_cache", "attr_timeout", "entry_timeout", "negative_timeout", "context",
	}, key)
}

func id(text string) (*uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, err
	}
	number := uint32(n)
	return &number, nil
}

// descriptor is the one that a path behind one of some directories names.
func descriptor(path string, dirs ...string) (linux.FD, bool) {
	for _, dir := range dirs {
		if number, ok := strings.CutPrefix(path, dir); ok {
			if n, err := strconv.ParseUint(number, 10, 16); err == nil {
				return linux.FD(n), true //nolint:gosec // 16 bits
			}
		}
	}
	return linux.NoFD, false
}
