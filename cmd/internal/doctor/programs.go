package doctor

import (
	"debug/buildinfo"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
)

// programs are to be there, and built from the same source as this one: the agent starts
// siflet-instance, and the two have to understand each other.
func (m *Machine) programs() {
	const check = "programs"
	own, known := debug.ReadBuildInfo()
	found := map[string][]string{}
	for _, name := range []string{"siflet-agent", "siflet-instance", "siflet-action", "siflet-fuse"} {
		path, err := setup.Program("", name)
		if err != nil {
			level := Problem
			if name == "siflet-fuse" {
				level = theirs()
			}
			m.judge(level, check, "install siflet anew: all its programs belong together", "", err)
			continue
		}
		info, err := buildinfo.ReadFile(path)
		switch {
		case err != nil:
			m.problem(check, "install siflet anew: all its programs belong together", "%s is no program of siflet: %v", path, err)
		case known && source(own) != source(info):
			m.problem(check, "install siflet anew: all its programs belong together",
				"%s is built from another source than siflet: %s, not %s", path, source(info), source(own))
		default:
			dir := filepath.Dir(path)
			found[dir] = append(found[dir], name)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		m.ok(check, "%s in %s", strings.Join(found[dir], ", "), dir)
	}
}

// source is what a program was built from.
func source(info *debug.BuildInfo) string {
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	if revision == "" {
		return fmt.Sprintf("%s of %s", info.Main.Version, info.Main.Path)
	}
	return revision + dirty
}
