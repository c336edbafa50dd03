package node

import (
	"os"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// Whoever may write where an image is can put a link there when it has been found good.
func TestALinkThatTookTheImagesPlaceIsNotFollowed(t *testing.T) {
	s := newStage(t)
	e, other := squashfs(t, nil), squashfs(t, nil)
	must(t, os.Rename(e.Path, e.Path+".moved"))
	must(t, os.Symlink(other.Path, e.Path))
	e.Size = other.Size
	if out, code := s.run(t, container(e, "echo", "up")); code != 0 || out != "up\n" {
		t.Errorf("an extent that may be a link: exit %d: %s", code, out)
	}
	e.Exact = true
	if f, _ := s.fails(t, container(e, "echo", "up")); f == nil || !strings.Contains(f.Error(), "symbolic link") {
		t.Errorf("launch: %v, want a refusal of the link", f)
	}
	p := container(other, "echo", "up")
	p.Mounts = append(p.Mounts, program.Mount{Target: "/mnt", Image: []program.Extent{e}})
	if f, _ := s.fails(t, p); f == nil || !strings.Contains(f.Error(), "symbolic link") {
		t.Errorf("launch with an image's volume: %v, want a refusal of the link", f)
	}
	if held, err := linux.HoldImage(e.Path, e.FS, 0, e.Size, true, "", true); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("HoldImage() = %v, %v, want a refusal of the link", held, err)
	}
}
