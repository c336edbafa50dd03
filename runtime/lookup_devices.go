package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
)

// Devices describes the device node at hostPath, or all of them below it when
// it is a directory, as they are to appear at containerPath ("": at the same
// place). If hostPath is a symbolic link, it is followed. Terminals and what
// else a /dev has for itself are left out.
func Devices(hostPath, containerPath string) ([]specs.LinuxDevice, error) {
	if containerPath == "" {
		containerPath = hostPath
	}
	source, err := filepath.EvalSymlinks(hostPath)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("device %s: %w", hostPath, err)
	}
	out, isDir := []specs.LinuxDevice(nil), false
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != source && ofItsOwn(d):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeDevice == 0:
			isDir = isDir || d.IsDir()
			return nil
		}
		device, err := describe(path)
		if device != nil {
			device.Path = containerPath + strings.TrimPrefix(path, source)
			out = append(out, *device)
		}
		return err
	})
	if err == nil && len(out) == 0 && !isDir {
		err = errors.New("not a device")
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", hostPath, err)
	}
	return out, nil
}

// ofItsOwn reports whether every /dev has its own of d, directory or device.
func ofItsOwn(d fs.DirEntry) bool {
	if d.IsDir() {
		return slices.Contains([]string{"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"}, d.Name())
	}
	return d.Name() == "console"
}

// describe is nil if there is no device at path.
func describe(path string) (*specs.LinuxDevice, error) {
	kind, major, minor, st, err := linux.Node(path)
	if err != nil || kind == "" {
		return nil, err
	}
	mode, uid, gid := fs.FileMode(st.Mode&0o777), st.UID, st.GID
	return &specs.LinuxDevice{
		Path: path, Type: kind, Major: int64(major), Minor: int64(minor), FileMode: &mode, UID: &uid, GID: &gid,
	}, nil
}
