package publish

import (
	"archive/tar"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/contract"
)

// pushedDir has copies of what an image runs. Who makes a SIF file of the image again puts scripts in the places of
// its own ones: of the runscript that the entry point would come to, one that runs the entry point.
const pushedDir = ".singularity.d/pushed"

// entryPoint runs the copies. An app's script is in nobody's way.
const entryPoint = `#!/bin/sh
if [ -n "${SINGULARITY_APPNAME:-${APPTAINER_APPNAME:-}}" ]; then
    exec /.singularity.d/actions/run "$@"
fi
for script in /` + pushedDir + `/env/*.sh; do
    [ ! -f "$script" ] || . "$script"
done
exec /` + pushedDir + `/runscript "$@"
`

// packEntry is a layer in dir with the entry point of an image of which said is known.
func packEntry(said contract.Attributes, created v1.Time, dir string) (layer, error) {
	return packed(dir, func(w *tar.Writer) error {
		for _, d := range []string{".singularity.d", pushedDir, pushedDir + "/env"} {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755, ModTime: created.Time, Format: tar.FormatPAX}); err != nil {
				return err
			}
		}
		scripts := map[string]string{"run": entryPoint, "runscript": strings.TrimRight(said.Runscript, "\n") + "\n"}
		for name, text := range said.Environment {
			scripts["env/"+path.Base(name)] = strings.TrimRight(text, "\n") + "\n"
		}
		for _, name := range slices.Sorted(maps.Keys(scripts)) {
			text := scripts[name]
			h := &tar.Header{Typeflag: tar.TypeReg, Name: pushedDir + "/" + name, Mode: 0o755, Size: int64(len(text)), ModTime: created.Time, Format: tar.FormatPAX}
			if err := w.WriteHeader(h); err != nil {
				return err
			}
			if _, err := w.Write([]byte(text)); err != nil {
				return err
			}
		}
		return nil
	})
}
