package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
)

// Devices describes the device node at hostPath, or all of them below it when
// it is a directory, as they are to appear at containerPath ("": at the same
// place). Symbolic links are followed.
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
	var out []specs.LinuxDevice
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeDevice == 0 {
			return err
		}
		kind, major, minor, st, err := linux.Node(path)
		if err != nil || kind == "" {
			return err
		}
		mode, uid, gid := fs.FileMode(st.Mode&0o777), st.UID, st.GID
		out = append(out, specs.LinuxDevice{
			Path: containerPath + strings.TrimPrefix(path, source), Type: kind, Major: int64(major), Minor: int64(minor),
			FileMode: &mode, UID: &uid, GID: &gid,
		})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("not a device")
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", hostPath, err)
	}
	return out, nil
}
