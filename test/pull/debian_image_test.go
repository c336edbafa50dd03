package pull_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/registrytest"
)

// capability is the attribute of a program with CAP_NET_RAW, effective and permitted.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// must fails the test on an error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// gnuLayer is an archive that GNU tar makes of a directory: whiteouts and all
// that a file system can have.
func gnuLayer(t *testing.T) []byte {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "layer") //nolint:usetesting // attributes need a tmpfs
	must(t, err)
	defer func() { must(t, os.RemoveAll(dir)) }()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{
		"etc", "usr/share/locale/xx", "usr/local/bin", "srv/setgid", "srv/sticky", "srv/many", "etc/issue.net", "srv/empty",
	} {
		must(t, os.MkdirAll(at(name), 0o755))
	}
	for name, text := range map[string]string{
		"etc/.wh.debian_version": "", "usr/share/.wh.doc": "", "usr/share/locale/.wh..wh..opq": "", "etc/issue": "another\n",
		"usr/share/locale/xx/new": "new", "usr/share/info": "was a directory", "etc/issue.net/file": "was a file",
		"usr/local/bin/suid": "#!/bin/sh\nid\n", "usr/local/bin/raw": "#!/bin/sh\n", "srv/linked": "one file\n",
		"srv/new\nline": "1", "srv/\xff\xfe": "2", "srv/sp ace": "3", "srv/.whatever": "4", "srv/" + strings.Repeat("long", 60): "5",
		"srv/large": strings.Repeat("squash ", 100_000), "srv/none": "",
	} {
		must(t, os.WriteFile(at(name), []byte(text), 0o644))
	}
	f, err := os.OpenFile(at("srv/sparse"), os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, first := f.WriteAt([]byte("start"), 0)
	_, middle := f.WriteAt([]byte("middle"), 5<<20+123)
	must(t, first, middle, f.Truncate(20<<20), f.Close())
	must(t,
		os.Link(at("srv/linked"), at("srv/many/linked-2")), os.Link(at("srv/linked"), at("usr/local/bin/linked-3")),
		os.Symlink("../../etc/issue", at("srv/many/issue")), os.Symlink(strings.Repeat("x", 3000), at("srv/long-link")),
		unix.Mknod(at("srv/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("srv/disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70_000))),
		unix.Mknod(at("srv/fifo"), unix.S_IFIFO|0o600, 0),
		os.Lchown(at("srv/disk"), 0, 6), os.Lchown(at("srv/setgid"), 4711, 65534), os.Lchown(at("usr/local/bin/suid"), 1, 1),
		os.Lchown(at("srv/long-link"), 3_000_000_000, 3_000_000_001),
		unix.Chmod(at("srv/setgid"), 0o2770), unix.Chmod(at("srv/sticky"), 0o1777), unix.Chmod(at("usr/local/bin/suid"), 0o4755),
		unix.Chmod(at("usr/local/bin/raw"), 0o755), unix.Chmod(at("srv/null"), 0o666), unix.Chmod(at("srv/none"), 0),
		unix.Setxattr(at("usr/local/bin/raw"), "security.capability", []byte(capability), 0),
		unix.Setxattr(at("srv/linked"), "user.note", []byte("a\x00b"), 0),
		unix.Setxattr(at("srv/sticky"), "trusted.note", []byte("trusted"), 0),
	)
	// Parents last, and all in whole seconds.
	when := []unix.Timespec{{Sec: 981_173_106}, {Sec: 981_173_106}}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, when, unix.AT_SYMLINK_NOFOLLOW))
	}))
	return []byte(tool(t, "tar", "--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", dir, "-c", "etc", "usr", "srv"))
}

// oddLayer has what Docker's images have and tar would not make of a directory.
func oddLayer(t *testing.T) []byte {
	t.Helper()
	entry := func(name, content string, change func(h *tar.Header)) registrytest.Entry {
		e := registrytest.File(name, content)
		change(&e.Header)
		return e
	}
	plain := func(*tar.Header) {}
	return registrytest.Tar(t,
		entry("./var/mail/root", "mail\n", func(h *tar.Header) { h.Uid, h.Gid, h.Uname, h.Gname = 0, 8, "nobody", "nobody"; h.Mode = 0o660 }),
		registrytest.Dir("srv/odd/"),
		entry("data/", "", func(h *tar.Header) { h.Typeflag = tar.TypeDir; h.Uid, h.Gid, h.Mode = 34, 34, 0o750 }),
		entry("data/kept", "kept", func(h *tar.Header) { h.Uid, h.Gid, h.Mode = 34, 34, 0o600 }),
		entry("/srv/odd/absolute", "a", plain),
		entry("srv/odd/twice", "first", plain),
		entry("srv/odd/twice", "second", func(h *tar.Header) { h.Mode = 0o600 }),
		entry("srv/odd/ustar", "u", func(h *tar.Header) { h.Format = tar.FormatUSTAR; h.ModTime = time.Unix(1, 0) }),
		entry("srv/odd/"+strings.Repeat("gnu", 50), "g", func(h *tar.Header) { h.Format = tar.FormatGNU }),
		entry("srv/odd/access", "acl", func(h *tar.Header) {
			// user::rw- user:1:r-- group::r-- mask::r-- other::r--
			h.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_access": "\x02\x00\x00\x00" +
				"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x01\x00\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
				"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"}
		}),
		entry("srv/many/.wh.issue", "", plain),
		entry("srv/.wh.empty", "", plain),
		entry("srv/odd/link", "", func(h *tar.Header) { h.Typeflag = tar.TypeLink; h.Linkname = "srv/odd/ustar" }),
	)
}

// archive is a layer and the directories that it has something in and does not describe.
type archive struct {
	content  []byte
	implicit []string
}

// debianLayers are the archives of the image, lowest first.
func debianLayers(t *testing.T) []archive {
	t.Helper()
	return []archive{
		{debian(t), nil},
		{gnuLayer(t), []string{"."}},
		{oddLayer(t), []string{".", "srv", "srv/many", "var", "var/mail"}},
	}
}

func imageOf(t *testing.T, how registrytest.Compression, config v1.Config, archives []archive) v1.Image {
	t.Helper()
	var layers []v1.Layer
	for _, archive := range archives {
		layers = append(layers, registrytest.LayerOf(t, how, archive.content))
	}
	return registrytest.Image(t, config, layers...)
}

// reference is what containerd's overlay shows of layers: each unpacked by GNU tar,
// with its whiteouts turned into overlayfs's by hand, and all stacked by the kernel.
func reference(t *testing.T, archives []archive) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "r") //nolint:usetesting // attributes need a tmpfs, options have to be short
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	var stack []string
	for n, archive := range archives {
		layer := filepath.Join(dir, string(rune('a'+n)))
		must(t, os.Mkdir(layer, 0o755))
		unpack := exec.CommandContext(t.Context(), "tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "--delay-directory-restore", "-C", layer)
		unpack.Stdin = bytes.NewReader(archive.content)
		if out, err := unpack.CombinedOutput(); err != nil {
			t.Fatalf("tar: %v\n%s", err, out)
		}
		must(t, whiteOut(layer))
		for _, name := range archive.implicit {
			describe(t, filepath.Join(layer, name), name, stack)
		}
		stack = append([]string{layer}, stack...)
	}
	merged := filepath.Join(dir, "merged")
	must(t, os.Mkdir(merged, 0o755), unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(stack, ":")))
	t.Cleanup(func() { must(t, unix.Unmount(merged, 0)) })
	return merged
}

// describe gives a directory that a layer does not describe what the layers below have.
func describe(t *testing.T, path, name string, below []string) {
	t.Helper()
	for _, dir := range below {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, name), &st) == nil {
			must(t, os.Chown(path, int(st.Uid), int(st.Gid)), unix.Chmod(path, st.Mode&0o7777),
				unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Mtim, st.Mtim}, 0))
			return
		}
	}
	t.Fatalf("no layer describes %s", name)
}

// whiteOut turns a layer's whiteouts into overlayfs's.
func whiteOut(layer string) error {
	times := map[string]unix.Timespec{}
	err := filepath.WalkDir(layer, func(path string, d fs.DirEntry, err error) error {
		dir, base := filepath.Split(path)
		hidden, ok := strings.CutPrefix(base, ".wh.")
		if err != nil || !ok || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return err
		}
		if _, ok := times[dir]; !ok {
			times[dir] = st.Mtim
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if hidden == ".wh..opq" {
			return unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0)
		}
		return unix.Mknod(dir+hidden, unix.S_IFCHR, 0)
	})
	for _, dir := range slices.Sorted(maps.Keys(times)) {
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{times[dir], times[dir]}, 0))
	}
	return err
}
