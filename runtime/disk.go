package runtime

import (
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/linux"
)

// Disk is what a writable layer takes: Bytes of blocks and Inodes below Path, counted At
// that time.
type Disk struct {
	At            time.Time
	Path          string
	Bytes, Inodes uint64
	// The file system that it is on: its device, its size in bytes and its inodes; zero if
	// that can't be told.
	Device                       string
	Size, MostInodes, FreeInodes uint64
}

const (
	// diskAge is how long a count of files stands, or as many times as long as it took
	// as diskPauses says.
	diskAge    = 10 * time.Second
	diskPauses = 10
	// diskPatience is how long a count is waited for. A container may have millions of
	// files: it must not keep others from being measured.
	diskPatience = 200 * time.Millisecond
)

// diskUsage remembers the last count.
type diskUsage struct {
	mu    sync.Mutex
	last  *Disk
	took  time.Duration
	under chan struct{} // closed at the end of the count that is under way, nil without one
}

// walks are the counts under way.
type walks struct {
	mu    sync.Mutex
	ended bool // guards wait: no count begins any more
	over  atomic.Bool
	wait  sync.WaitGroup
}

// begin runs a count, unless it is too late.
func (w *walks) begin(count func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.wait.Go(count)
	}
	return !w.ended
}

// end gives up what is under way.
func (w *walks) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.over.Store(true)
	w.wait.Wait()
}

// writableLocked are the directories on disk that the container writes to.
func (c *container) writableLocked() []string {
	if c.rec.Upper != "" {
		return []string{c.rec.Upper}
	}
	var dirs []string
	if c.rec.Volumes != "" {
		// Of those the plan may have left out some.
		for n := range c.rec.Image.Volumes {
			dirs = append(dirs, c.rec.Volumes+strconv.Itoa(n))
		}
	}
	return dirs
}

// DiskUsage is what the writable layers of all containers take, those that have
// ended too. Its Path is beside, a directory, if they are on the same file system
// as that is.
func (v *view) DiskUsage(beside string) Disk {
	type layer struct {
		of   *diskUsage
		dirs []string
	}
	var layers []layer
	for _, i := range v.all() {
		i.mu.Lock()
		for _, c := range i.containers {
			if dirs := c.writableLocked(); len(dirs) > 0 {
				layers = append(layers, layer{&c.disk, dirs})
			}
		}
		i.mu.Unlock()
	}
	total := Disk{At: time.Now(), Path: beside}
	own := filepath.Join(v.cfg.StateDir, "instances")
	mine, err := linux.RoomAt(own)
	if other, oerr := linux.RoomAt(beside); err == nil && oerr == nil && (mine.Major != other.Major || mine.Minor != other.Minor) {
		total.Path = own
	}
	for _, l := range layers {
		one := l.of.count(&v.walks, l.dirs)
		if one == nil {
			continue // it is being counted
		}
		total.Bytes += one.Bytes
		total.Inodes += one.Inodes
		if one.At.Before(total.At) {
			total.At = one.At
		}
	}
	return total
}

// count is what the directories take, as of a moment ago. It is as it was before while
// that is being found out and takes long: nil the first time.
func (d *diskUsage) count(w *walks, dirs []string) *Disk {
	under := d.begin(w, dirs)
	if under != nil {
		late := time.NewTimer(diskPatience)
		defer late.Stop()
		select {
		case <-under:
		case <-late.C:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		return nil
	}
	out := *d.last
	return &out
}

// begin begins to count, if it is time to and nobody does. What it returns is closed at
// the end of that; nil is nothing to wait for.
func (d *diskUsage) begin(w *walks, dirs []string) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under != nil {
		return d.under
	}
	if d.last != nil && time.Since(d.last.At) < max(diskAge, diskPauses*d.took) {
		return nil
	}
	under := make(chan struct{})
	if !w.begin(func() { d.walk(w, dirs, under) }) {
		return nil
	}
	d.under = under
	return under
}

func (d *diskUsage) walk(w *walks, dirs []string, under chan<- struct{}) {
	out := Disk{At: time.Now(), Path: dirs[0]}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if w.over.Load() {
				return fs.SkipAll
			}
			if err != nil {
				return nil //nolint:nilerr // files come and go
			}
			if n, err := linux.Usage(path); err == nil {
				out.Bytes += n
				out.Inodes++
			}
			return nil
		})
	}
	if room, err := linux.RoomAt(out.Path); err == nil {
		out.Size, out.MostInodes, out.FreeInodes = room.Bytes, room.Inodes, room.FreeInodes
		out.Device = cgroups.BlockDevice(uint64(room.Major), uint64(room.Minor))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under = nil; !w.over.Load() {
		d.last, d.took = &out, time.Since(out.At)
	}
	close(under)
}
