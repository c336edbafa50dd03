package runtime

import (
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
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

// diskUsage remembers the last count.
type diskUsage struct {
	mu   sync.Mutex
	last Disk
}

// diskAge is how long a count of files stands.
const diskAge = 10 * time.Second

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
		one := l.of.count(l.dirs)
		total.Bytes += one.Bytes
		total.Inodes += one.Inodes
		if one.At.Before(total.At) {
			total.At = one.At
		}
	}
	return total
}

// count walks the directories unless it did so a moment ago.
func (d *diskUsage) count(dirs []string) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.last.At) < diskAge {
		out := d.last
		return &out
	}
	out := Disk{At: time.Now(), Path: dirs[0]}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
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
	d.last = out
	return &out
}
