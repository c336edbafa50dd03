package image

import (
	"log/slog"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/trust"
)

// Options of a store. The zero value works for SIF files.
type Options struct {
	// Registry is for what is pulled from registries; nil allows none.
	Registry *registry.Client
	// Library is the base URL for library://; empty is the public one.
	Library string
	// Policy says whose signature an image needs; nil is nobody's.
	Policy *trust.Policy
	// Log hears what should be known; nil is nobody.
	Log *slog.Logger
	// Moved hears of each name that meant another image until now, and the ID of that; nil
	// is nobody.
	Moved func(name, id string)
	// Compression is that of converted layers; None is the default.
	Compression squashfs.Compression
	// UserXattrs makes layers that can be mounted in a user namespace.
	UserXattrs bool
	// Arch is a GOARCH name, of the machine that the images are for; empty is this one.
	Arch string
	// Sandboxes makes paths of directories images. Whoever may name such an image may read
	// what is in the directory, as root.
	Sandboxes bool
	// Dirs are where files must be that are named as images: SIF files, archives and
	// layouts. What the store has made of others stays there and may not be used.
	Dirs *Dirs
	// LockDir is a directory of this machine's own for a lock, where the file system that the
	// store is on has none; nil does without.
	LockDir func() (string, error)
	// Parallel bounds the layers of an image that are worked on at once; zero is 3.
	Parallel int
}

// PullOptions of one pull. The zero value works.
type PullOptions struct {
	// Auth goes before the credentials that the store's registry client finds.
	Auth *registry.Auth
	// Namespace is the Kubernetes namespace whose policy counts; empty for a person.
	Namespace string
	// Progress hears how much is there of what the pull has to fetch, what an earlier one
	// left of a file too; calls don't overlap.
	Progress func(done, total int64)
	// Read hears of the bytes as they are read from the image's source. Work that pulls
	// share counts in one of them, which may have ended before the work. Calls may overlap.
	Read func(bytes int64)
}

// configure makes a store that can change what the options say.
func (s *Store) configure(o Options) {
	const parallel, pulls = 3, 3
	if o.Parallel <= 0 {
		o.Parallel = parallel
	}
	if o.Log != nil {
		s.log = o.Log
	}
	s.options = o
	s.files.arch, s.files.sandboxes = o.Arch, o.Sandboxes
	// One pull whose source hangs must not keep others waiting.
	s.work.slots = make(chan struct{}, pulls*o.Parallel)
}
