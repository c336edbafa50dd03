package runtime

import (
	"path/filepath"
	"strings"
)

// noteParent finds the topmost group of those above the instance's that is missing: it
// is made, and goes with the last instance in it. If another instance brought it about
// it is this one's, too, as nobody knows which of them goes last.
func (e *Engine) noteParent(i *instance) {
	parent := filepath.Dir(i.rec.Cgroup)
	if e.makesParent(&i.rec) {
		return // the engine takes its own away when it closes
	}
	made := e.cfg.Cgroups.MissingParent(parent)
	for _, other := range e.all() {
		if made != "" {
			break
		}
		if other == i {
			continue
		}
		other.mu.Lock()
		if top := other.rec.MadeParent; top != "" && other.rec.StoppedAt.IsZero() && strings.HasPrefix(parent+"/", top+"/") {
			made = top
		}
		other.mu.Unlock()
	}
	i.mu.Lock()
	i.rec.MadeParent = made
	i.mu.Unlock()
}

// removeParent takes away what was made for the instance and nobody uses any more.
func (e *Engine) removeParent(i *instance) {
	top := i.rec.MadeParent
	if top == "" {
		return
	}
	for p := filepath.Dir(i.rec.Cgroup); strings.HasPrefix(p+"/", top+"/"); p = filepath.Dir(p) {
		e.cfg.Cgroups.RemoveParent(p)
	}
}
