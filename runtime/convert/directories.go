package convert

import (
	"maps"
	"path"

	"github.com/siflet/siflet/runtime/layer"
)

// directories is what a stack of layers says of directories, by path.
type directories map[string]layer.Directory

func (d directories) find(name string) (layer.Directory, bool) {
	found, ok := d[name]
	return found, ok
}

// add lays a layer on the stack.
func (d directories) add(r layer.Result) {
	whiteouts, opaque := set(r.Whiteouts), set(r.Opaque)
	maps.DeleteFunc(d, func(name string, _ layer.Directory) bool {
		for dir := name; dir != "."; dir = path.Dir(dir) {
			if whiteouts[dir] || opaque[dir] && dir != name {
				return true
			}
		}
		return false
	})
	for _, described := range r.Directories {
		d[described.Path] = described
	}
}

func set(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
}
