package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/siflet/siflet/runtime/linux"
)

func TestHeldImageKeepsItsLoopDevice(t *testing.T) {
	if !isolated(t) {
		return
	}
	image := squashfs(t, nil)
	held, err := linux.HoldImage(image.Path, image.FS, 0, image.Size, true, "", false)
	must(t, err)
	first := loopsOf(t, image.Path)
	if len(first) != 1 {
		t.Errorf("loop devices of a held image = %v, want one", first)
	}
	again, err := linux.HoldImage(image.Path, image.FS, 0, image.Size, true, "", false)
	must(t, err)
	if both := loopsOf(t, image.Path); len(both) != 1 {
		t.Errorf("loop devices of an image held twice = %v, want one", both)
	}
	if out, code := newStage(t).run(t, container(image, "echo", "up")); code != 0 || out != "up\n" {
		t.Errorf("a container of a held image: exit %d: %s", code, out)
	}
	must(t, held.Close())
	if left := loopsOf(t, image.Path); len(left) != 1 {
		t.Errorf("loop devices while one holder is left = %v, want one", left)
	}
	must(t, again.Close())
	eventually(t, "the loop device is free", func() bool { return len(loopsOf(t, image.Path)) == 0 })
}

// Whoever looks into an image on the node must not get at a device by that.
func TestHeldImageHasNoDevices(t *testing.T) {
	if !isolated(t) {
		return
	}
	image := squashfs(t, func(root string) {
		const zero = 1<<8 | 5
		if err := syscall.Mknod(filepath.Join(root, "bin/zero"), syscall.S_IFCHR|0o666, zero); err != nil {
			t.Skipf("needs devices: %v", err)
		}
	})
	held, err := linux.HoldImage(image.Path, image.FS, 0, image.Size, false, "", false)
	must(t, err)
	defer closeAll(t, held)
	f, err := os.Open(linux.DescriptorPath(held) + "/bin/zero")
	if err == nil {
		closeAll(t, f)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("open a device of a held image: %v, want it refused", err)
	}
}

// Direct reads ask for an offset that suits the disk; without it the kernel
// reads through the page cache.
func TestHeldImageIsReadDirectlyWhereItCanBe(t *testing.T) {
	if !isolated(t) {
		return
	}
	if _, err := exec.LookPath("mkfs.ext3"); err != nil {
		t.Skip("needs mkfs.ext3")
	}
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""))
	dir := t.TempDir()
	file, disk := dir+"/file", dir+"/disk"
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext3", "-q", file, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext3: %v\n%s", err, out)
	}
	must(t, os.Mkdir(disk, 0o755))
	if out, err := exec.CommandContext(t.Context(), "busybox", "mount", "-t", "ext3", "-o", "loop", file, disk).CombinedOutput(); err != nil {
		t.Skipf("needs an ext3 file system: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "busybox", "umount", "-d", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	packed := squashfs(t, nil)
	data, err := os.ReadFile(packed.Path)
	must(t, err)
	s := newStage(t)
	for offset, want := range map[int64]string{4096: "1\n", 4096 + 4: "0\n"} {
		image := packed
		image.Path, image.Offset = filepath.Join(disk, "image"), offset
		must(t, os.WriteFile(image.Path, append(make([]byte, offset), data...), 0o644))
		held, err := linux.HoldImage(image.Path, image.FS, offset, image.Size, true, "", false)
		must(t, err)
		loops := loopsOf(t, image.Path)
		if len(loops) != 1 {
			t.Fatalf("loop devices = %v, want one", loops)
		}
		if got, err := os.ReadFile("/sys/block/" + loops[0] + "/loop/dio"); err != nil || string(got) != want {
			t.Errorf("offset %d: direct reads are %q, %v, want %q", offset, got, err, want)
		}
		if out, code := s.run(t, container(image, "echo", "up")); code != 0 || strings.TrimSpace(out) != "up" {
			t.Errorf("offset %d: exit %d: %s", offset, code, out)
		}
		must(t, held.Close())
		eventually(t, "the loop device is free", func() bool { return len(loopsOf(t, image.Path)) == 0 })
		must(t, os.Remove(image.Path))
	}
}
