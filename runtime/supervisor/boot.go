package supervisor

import (
	"bytes"
	"path"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
)

// innermost is where in the container's v2 cgroup its main process is, if that is an
// init that has made groups of its own: the kernel lets nobody else into one that
// others are below.
func (c *container) innermost(dir string) string {
	if dir == "" || c.svc == nil || !c.booted() || !c.main.alive() {
		return dir
	}
	text, err := linux.Slurp("/proc/"+strconv.Itoa(c.main.pid)+"/cgroup", 4<<10) //nolint:mnd // more than it is
	if err != nil {
		return dir
	}
	for line := range bytes.Lines(text) {
		place, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::"))
		if _, below, found := bytes.Cut(place, []byte("/"+path.Base(dir)+"/")); ok && found {
			return dir + "/" + string(below)
		}
	}
	return dir
}
