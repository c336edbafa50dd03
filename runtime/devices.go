package runtime

import (
	"io/fs"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hostDevices are the machine's device nodes, for privileged containers. What
// can't be read is left out.
func hostDevices() []specs.LinuxDevice {
	var out []specs.LinuxDevice
	_ = filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // devices come and go
		}
		if path != "/dev" && ofItsOwn(d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeDevice == 0 {
			return nil
		}
		if device, err := describe(path); err == nil && device != nil { // devices come and go
			out = append(out, *device)
		}
		return nil
	})
	return out
}

func cut(entry string) (name, value string, ok bool) { return strings.Cut(entry, "=") }
