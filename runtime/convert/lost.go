package convert

import "github.com/siflet/siflet/runtime/layer"

// Lost counts what squashfs can't hold of the layers of an image, also of what a higher
// layer hides. The zero value is ready.
type Lost struct {
	// ACLs are POSIX ACLs that say more than the mode, Xattrs other extended attributes by
	// name.
	ACLs   int64
	Xattrs map[string]int64
}

// add counts what a layer lost. Nobody may want to know.
func (l *Lost) add(xattrs map[string]int64) {
	if l == nil {
		return
	}
	for name, n := range xattrs {
		switch {
		case name == layer.AccessACL || name == layer.DefaultACL:
			l.ACLs += n
		case l.Xattrs == nil:
			l.Xattrs = map[string]int64{name: n}
		default:
			l.Xattrs[name] += n
		}
	}
}
