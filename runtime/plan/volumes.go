package plan

import (
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxVolumes bounds how many volumes an image may name.
const maxVolumes = 256

// volumes are the directories that the image wants to write to and that no mount
// covers. A mount above one covers it too: who mounts a disk at /var/lib/db wants
// what an image keeps in /var/lib/db/data to be on it.
func volumes(in Input, mounts []specs.Mount) ([]specs.Mount, error) {
	if len(in.Image.Volumes) > maxVolumes {
		return nil, invalid("the image names %d volumes, %d at most are possible", len(in.Image.Volumes), maxVolumes)
	}
	var targets []string
	for _, name := range in.Image.Volumes {
		if strings.ContainsRune(name, 0) {
			return nil, invalid("volume %q of the image holds a NUL", name)
		}
		targets = append(targets, path.Join("/", name))
	}
	slices.Sort(targets) // what is above comes first
	var out []specs.Mount
	for _, target := range slices.Compact(targets) {
		above := func(m specs.Mount) bool { return within(target, m.Destination) }
		if target == "/" || slices.ContainsFunc(mounts, above) {
			continue
		}
		m := specs.Mount{Type: typeVolume, Destination: target, Options: []string{"rw"}}
		// One in another is a directory of it.
		if in.Volumes != "" && !slices.ContainsFunc(out, above) {
			m.Source = in.Volumes + strconv.Itoa(len(out))
		}
		out = append(out, m)
	}
	return out, nil
}

// within says that a clean path is another or below it.
func within(p, above string) bool {
	return p == above || strings.HasPrefix(p, strings.TrimSuffix(above, "/")+"/")
}
