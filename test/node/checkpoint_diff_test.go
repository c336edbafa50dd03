package node

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/checkpoint"
)

func TestDiffSaysWhatAContainerHasChanged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make whiteouts")
	}
	upper := t.TempDir()
	in := func(name string) string { return filepath.Join(upper, name) }
	err := errors.Join(
		os.Mkdir(in("new"), 0o750), os.WriteFile(in("new/file"), []byte("text"), 0o640), os.Chown(in("new/file"), 5, 6),
		os.Link(in("new/file"), in("new/twin")), os.Symlink("/etc/passwd", in("new/link")), unix.Mkfifo(in("new/pipe"), 0o600),
		unix.Mknod(in("gone"), unix.S_IFCHR, 0), os.Mkdir(in("fresh"), 0o755),
		unix.Mknod(in("socket"), unix.S_IFSOCK|0o600, 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(in("new/file"), "user.note", []byte("kept"), 0); err != nil {
		t.Skipf("needs a file system with user attributes, which tmpfs got in Linux 6.6: %v", err)
	}
	if err := unix.Setxattr(in("fresh"), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skipf("needs a file system with trusted attributes: %v", err)
	}
	var b bytes.Buffer
	if err := checkpoint.WriteDiff(&b, upper); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Type byte
		Text string
	}
	got := map[string]entry{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		got[h.Name] = entry{h.Typeflag, string(text) + h.Linkname + h.PAXRecords["SCHILY.xattr.user.note"]}
		if h.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] != "" {
			t.Errorf("%s has an attribute of overlay's own", h.Name)
		}
		if h.Name == "new/file" && (h.Uid != 5 || h.Gid != 6 || h.Mode != 0o640) {
			t.Errorf("new/file is of %d:%d with mode %o, want 5:6 with 640", h.Uid, h.Gid, h.Mode)
		}
	}
	want := map[string]entry{
		"./": {tar.TypeDir, ""}, "new/": {tar.TypeDir, ""}, "new/file": {tar.TypeReg, "textkept"}, "new/twin": {tar.TypeLink, "new/filekept"},
		"new/link": {tar.TypeSymlink, "/etc/passwd"}, "new/pipe": {tar.TypeFifo, ""}, ".wh.gone": {tar.TypeReg, ""},
		"fresh/": {tar.TypeDir, ""}, "fresh/.wh..wh..opq": {tar.TypeReg, ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
}
