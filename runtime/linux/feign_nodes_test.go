package linux

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A link that takes the place of another, with its number and in the same tick, is nobody's yet.
func TestOwnersOfLinksEndWithThem(t *testing.T) {
	t.Chdir(t.TempDir())
	open := func(target string) int {
		if err := os.Symlink(target, "link"); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open("link", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	remove := func(fd int) {
		Close(fd)
		if err := os.Remove("link"); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		var n nodeOwners
		fd := open("first")
		if !n.keep(fd, owner{}, 1, 2) {
			t.Skip("the file system does not say when files were made")
		}
		if uid, gid, ok := n.of(fd); uid != 1 || gid != 2 || !ok {
			t.Fatalf("owner = %d:%d, %v, want 1:2", uid, gid, ok)
		}
		remove(fd)
		fd = open("second")
		if uid, gid, ok := n.of(fd); ok {
			t.Fatalf("owner of a new link = %d:%d, want none", uid, gid)
		}
		remove(fd)
	}
}
