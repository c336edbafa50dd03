package runtime

import (
	"io/fs"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
)

// hostDevices are the machine's device nodes, for privileged containers. What
// can't be read is left out.
func hostDevices() []specs.LinuxDevice {
	var out []specs.LinuxDevice
	_ = filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // devices come and go
		}
		if d.IsDir() {
			switch path {
			case "/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.lxd-mounts", "/dev/.udev":
				return fs.SkipDir
			}
			return nil
		}
		if path == "/dev/console" || d.Type()&fs.ModeDevice == 0 {
			return nil
		}
		kind, major, minor, st, err := linux.Node(path)
		if err != nil || kind == "" {
			return nil //nolint:nilerr // devices come and go
		}
		mode := fs.FileMode(st.Mode & 0o777)
		uid, gid := st.UID, st.GID
		out = append(out, specs.LinuxDevice{
			Path: path, Type: kind, Major: int64(major), Minor: int64(minor), FileMode: &mode, UID: &uid, GID: &gid,
		})
		return nil
	})
	return out
}

func cut(entry string) (name, value string, ok bool) { return strings.Cut(entry, "=") }
