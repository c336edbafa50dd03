package linux

import (
	"sync"

	"golang.org/x/sys/unix"
)

// NodeNote is OwnerNote for links, pipes and sockets of an image that siflet-fuse serves, which
// can't have attributes of users' own. It is not listed, so that no overlay tries to copy it.
const NodeNote = "security.siflet.owner"

// nodeID tells apart what has no room for a note. Numbers of inodes are used again, at once by some
// file systems, and what is made in one tick of the kernel's clock has one time: it takes the same
// number, kind, text and tick for something to be taken for what was removed before it.
type nodeID struct {
	dev    uint64
	ino    uint64
	sec    int64
	nsec   uint32
	kind   uint16
	target string // of a link
}

// owner is whose something was to be.
type owner struct{ uid, gid uint32 }

// nodeOwners are the owners of links, pipes and sockets, as long as this process lives.
type nodeOwners struct {
	mu  sync.Mutex
	are map[nodeID]owner
}

// nodeOf identifies what fd is; false is where the file system does not say since when
// something exists.
func nodeOf(fd int) (nodeID, bool) {
	var st unix.Statx_t
	const want = unix.STATX_INO | unix.STATX_TYPE | unix.STATX_BTIME
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, want, &st)
	if err != nil || st.Mask&want != want {
		return nodeID{}, false
	}
	id := nodeID{
		dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino,
		sec: st.Btime.Sec, nsec: st.Btime.Nsec, kind: st.Mode & unix.S_IFMT,
	}
	if id.kind == unix.S_IFLNK {
		id.target, err = ReadLink(fd)
	}
	return id, err == nil
}

// keep notes an owner, where -1 is what it had.
func (n *nodeOwners) keep(fd int, had owner, uid, gid uint32) bool {
	id, ok := nodeOf(fd)
	if !ok {
		return false
	}
	if uid != ^uint32(0) {
		had.uid = uid
	}
	if gid != ^uint32(0) {
		had.gid = gid
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.are == nil {
		n.are = map[nodeID]owner{}
	}
	if n.are[id] = had; had == (owner{}) {
		delete(n.are, id)
	}
	return true
}

func (n *nodeOwners) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.are)
}

// of is the owner of what fd is, if there is one that was noted.
func (n *nodeOwners) of(fd int) (uid, gid uint32, ok bool) {
	if n.count() == 0 {
		return 0, 0, false
	}
	id, ok := nodeOf(fd)
	if !ok {
		return 0, 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	who, ok := n.are[id]
	return who.uid, who.gid, ok
}

// NodeOwner is whose a link, pipe or socket was to be, which has no room for an OwnerNote, or is
// in the image that it is from.
func (f *Feigning) NodeOwner(fd int) (uid, gid uint32, ok bool) {
	if f == nil {
		return 0, 0, false
	}
	if uid, gid, ok = f.nodes.of(fd); ok {
		return uid, gid, ok
	}
	return noted(fd, NodeNote)
}

// Nodes says that there were links, pipes or sockets that are others' than root's.
func (f *Feigning) Nodes() bool { return f.nodes.count() > 0 }

// ownerOf is whose a file was to be, however that was noted.
func (f *Feigning) ownerOf(fd int) (uid, gid uint32, ok bool) {
	if st, err := Fstat(fd); err == nil && !st.IsRegular() && !st.IsDir() {
		return f.NodeOwner(fd)
	}
	return noteOf(fd)
}
