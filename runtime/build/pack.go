package build

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/squashfs"
)

// Lost counts what a SIF file can't hold of an image.
type Lost struct {
	// ACLs are POSIX ACLs, Xattrs other extended attributes by name.
	ACLs   int64
	Xattrs map[string]int64
}

func (l *Lost) add(name string) {
	switch {
	case strings.HasPrefix(name, "system.posix_acl_"):
		l.ACLs++
	case l.Xattrs == nil:
		l.Xattrs = map[string]int64{name: 1}
	default:
		l.Xattrs[name]++
	}
}

// clamp makes what was changed during a build as old as the time of it that is to be seen.
type clamp struct {
	// since is when the build began, as what is when the image was made. The zero value
	// leaves times as they are.
	since, as time.Time
}

func (c clamp) time(t time.Time) time.Time {
	if c.since.IsZero() || t.Before(c.since) {
		return t
	}
	return c.as
}

// setID are the bits of set-user-ID and set-group-ID.
const setID = 0o6000

// inodeID tells inodes apart.
type inodeID struct{ dev, ino uint64 }

// packer writes a tree to a file system.
type packer struct {
	out   *squashfs.Writer
	times clamp
	// accessible gives the owner of everything the right to read it, and to write.
	accessible bool
	// noted says that owners are as notes say.
	noted bool
	// feign knows whose links, pipes and sockets are; it may be nil.
	feign *linux.Feigning
	// unsure says that notes may be missing: what has none is not set-user-ID root then.
	unsure   bool
	stripped int64
	lost     Lost
	// names are the first names of what has many.
	names map[inodeID]string
	// progress, if not nil, hears of done, the bytes of files so far.
	progress func(done int64)
	done     int64
}

// packed is what became of a tree.
type packed struct {
	size int64
	lost Lost
	// stripped counts files that were set-user-ID or set-group-ID.
	stripped int64
}

// owners is what a tree's owners are.
type owners struct {
	noted, unsure bool
	feign         *linux.Feigning
}

// pack writes the tree below root as a squashfs that every reader knows.
func pack(ctx context.Context, root int, w io.WriterAt, times clamp, accessible bool, whose owners, progress func(int64)) (packed, error) {
	fs, err := squashfs.New(ctx, w, squashfs.Options{Compression: squashfs.Gzip, Time: times.as})
	if err != nil {
		return packed{}, err
	}
	p := &packer{out: fs, times: times, accessible: accessible, noted: whose.noted, unsure: whose.unsure, feign: whose.feign, names: map[inodeID]string{}, progress: progress}
	if err := walk(ctx, root, visitor{visit: p.add}); err != nil {
		fs.Abort()
		return packed{}, err
	}
	size, err := fs.Close()
	return packed{size: size, lost: p.lost, stripped: p.stripped}, err
}

func (p *packer) add(i item) error {
	id := inodeID{i.node.Dev, i.node.Ino}
	if i.node.Links > 1 && !i.node.IsDir() {
		if first, known := p.names[id]; known {
			return p.out.Link(i.path, first)
		}
		p.names[id] = i.path
	}
	e := squashfs.Entry{
		Path: i.path, Mode: p.mode(i.node), UID: i.node.UID, GID: i.node.GID,
		ModTime: p.times.time(i.node.ModTime), Major: i.node.Major, Minor: i.node.Minor,
	}
	var err error
	if e.Xattrs, err = p.xattrs(i.fd); err != nil {
		return err
	}
	if uid, gid, ok := linux.ParseOwnerNote(e.Xattrs[linux.OwnerNote]); ok && p.noted {
		e.UID, e.GID = uid, gid
		delete(e.Xattrs, linux.OwnerNote)
	} else if uid, gid, ok := p.nodeOwner(i); ok {
		e.UID, e.GID = uid, gid
	} else if p.unsure && i.node.IsRegular() && e.Mode&setID != 0 {
		e.Mode &^= setID
		p.stripped++
	}
	switch {
	case i.node.IsSymlink():
		if e.Target, err = linux.ReadLink(i.fd); err != nil {
			return err
		}
	case i.node.IsRegular():
		return p.file(i, e)
	}
	return p.out.Add(e, nil)
}

// nodeOwner is whose something is that has no room for a note.
func (p *packer) nodeOwner(i item) (uid, gid uint32, ok bool) {
	if i.node.IsRegular() || i.node.IsDir() {
		return 0, 0, false
	}
	return p.feign.NodeOwner(i.fd)
}

// mode is what the file system says of who may do what.
func (p *packer) mode(n linux.Inode) uint32 {
	const read, enter = 0o600, 0o700
	switch {
	case p.accessible && n.IsDir():
		return n.Mode | enter
	case p.accessible && n.IsRegular():
		return n.Mode | read
	}
	return n.Mode
}

func (p *packer) file(i item, e squashfs.Entry) error {
	e.Size = i.node.Size
	if e.Size == 0 {
		return p.out.Add(e, nil)
	}
	f, err := linux.Reopen(i.fd, os.O_RDONLY)
	if err != nil {
		return err
	}
	err = p.out.Add(e, f)
	if p.done += e.Size; err == nil && p.progress != nil {
		p.progress(p.done)
	}
	return errors.Join(err, f.Close())
}

// xattrs are the extended attributes that belong to the image.
func (p *packer) xattrs(fd int) (map[string]string, error) {
	all, err := linux.Xattrs(fd)
	if err != nil {
		return nil, err
	}
	for name := range all {
		kind, _, _ := strings.Cut(name, ".")
		switch {
		case name == "security.selinux", overlayOwn(name):
			// This machine's, not the image's.
		case kind == "user" || kind == "trusted" || kind == "security":
			continue
		default:
			p.lost.add(name)
		}
		delete(all, name)
	}
	return all, nil
}

// overlayOwn says that an attribute is how overlayfs keeps a layer.
func overlayOwn(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.")
}
