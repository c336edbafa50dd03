package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/linux"
)

// place is a directory that siflet writes to.
type place struct {
	name, dir string
	// least is how many bytes it can't do without.
	least uint64
}

const mebi = 1 << 20

// disks looks for room where siflet writes.
func (m *Machine) disks() {
	const images, sockets = 256 * mebi, 8 * mebi
	all := []place{{"home", m.Home, images}, {"run directory of your own", m.HomeRun, sockets}}
	if linux.IsRoot() {
		all = append([]place{{"state directory", m.config.StateDir, images}, {"run directory", m.config.RunDir, sockets}}, all...)
	}
	for _, p := range all {
		if p.dir == "" {
			continue
		}
		room, err := linux.RoomAt(existing(p.dir))
		if err != nil {
			m.problem(p.name, "", "%v", err)
			continue
		}
		m.findings = append(m.findings, p.judge(room))
	}
}

// existing is dir, or the nearest directory above it that is there.
func existing(dir string) string {
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// judge finds too little room. Some file systems have no bound for files, and say 0.
func (p place) judge(r linux.Room) Finding {
	const tenth, comfort, fewFiles = 10, 8, 1000
	f := Finding{Check: p.name, Level: OK, Next: "make room: siflet image prune, siflet image gc, siflet cache clean"}
	left := fmt.Sprintf("%s: %d MB of %d MB are free", p.dir, r.FreeBytes/1e6, r.Bytes/1e6)
	switch {
	case r.FreeBytes < p.least:
		f.Level, f.Text = Problem, left
	case r.Inodes > 0 && r.FreeInodes < fewFiles:
		f.Level, f.Text = Problem, fmt.Sprintf("%s: no more than %d files can be made", p.dir, r.FreeInodes)
	case r.FreeBytes < comfort*p.least && r.FreeBytes < r.Bytes/tenth:
		f.Level, f.Text = Warning, left
	default:
		f.Text, f.Next = left, ""
	}
	return f
}
