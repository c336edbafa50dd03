package node

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/test/registrytest"
)

const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// aclFor lets a user and a group by number do something; a mask makes that count.
func aclFor(user, group uint32, perm uint16) string {
	const nobody = 1<<32 - 1
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, nobody}, {2, perm, user}, {4, 5, nobody}, {8, perm, group}, {16, 7, nobody}, {32, 1, nobody}} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.perm)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	return string(acl)
}

// layersWithACLs are layers in which ACLs meet what hides, links and replaces.
func layersWithACLs(tb testing.TB) [][]byte {
	tb.Helper()
	access := func(n uint32) map[string]string { return attr(accessACL, aclFor(n, n, 6)) }
	return append(layersWithAll(tb),
		tarOf(tb,
			tarFile{Name: "acl/", Mode: 0o750, Uid: 3, PAXRecords: attr(accessACL, aclFor(5, 6, 7), defaultACL, aclFor(7, 8, 5), "user.u", "\x00\xfe")},
			tarFile{Name: "acl/file", Mode: 0o640, Linkname: "text", PAXRecords: access(1)},
			tarFile{Name: "acl/plain", Mode: 0o640, Linkname: "text"},
			tarFile{Name: "acl/implied/su", Mode: 0o4711, Uid: 9, Linkname: "su", PAXRecords: access(2)},
			tarFile{Name: "-hard", Linkname: "one file", PAXRecords: attr(accessACL, aclFor(3, 3, 4), "security.x", "\xff", "trusted.t", "t")},
			tarFile{Name: "acl/hard", Typeflag: tar.TypeLink, Linkname: "-hard"},
			tarFile{Name: "zhard", Typeflag: tar.TypeLink, Linkname: "acl/hard"},
			tarFile{Name: "dev/acl", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o660, PAXRecords: access(4)},
			tarFile{Name: "dev/aclpipe", Typeflag: tar.TypeFifo, Mode: 0o660, PAXRecords: access(4)},
			tarFile{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "acl/file"},
			tarFile{Name: "mode", PAXRecords: attr(accessACL, aclFor(0, 0, 0)[:12]+aclFor(0, 0, 0)[20:28]+aclFor(0, 0, 0)[44:])},
			tarFile{Name: "odd\xff\xfe/", Mode: 0o700, PAXRecords: access(9)}, tarFile{Name: "odd\xff\xfe/a", PAXRecords: access(9)},
			tarFile{Name: "hidden", PAXRecords: access(5)}, tarFile{Name: "over", Linkname: "low", PAXRecords: access(6)},
			tarFile{Name: "opq/", PAXRecords: attr(defaultACL, aclFor(1, 1, 1))}, tarFile{Name: "opq/x", PAXRecords: access(7)},
			tarFile{Name: "replaced/b", Linkname: "b", PAXRecords: access(8)},
		),
		tarOf(tb,
			tarFile{Name: "acl/new", Linkname: "new"}, tarFile{Name: "odd\xff\xfe/b", Linkname: "b"},
			tarFile{Name: ".wh.hidden"}, tarFile{Name: "over", Linkname: "high"},
			tarFile{Name: "opq/", Mode: 0o711, PAXRecords: access(1)}, tarFile{Name: "opq/.wh..wh..opq"},
			tarFile{Name: "opq/y", Linkname: "y", PAXRecords: access(2)},
			tarFile{Name: "todir/x", Linkname: "x", PAXRecords: access(3)},
		))
}

// withoutACLs is a tar without its ACLs, which are apart.
func withoutACLs(tb testing.TB, blob []byte) (plain []byte, acls map[string]*tar.Header, described map[string]bool) {
	tb.Helper()
	var b bytes.Buffer
	acls, described = map[string]*tar.Header{}, map[string]bool{}
	w, r := tar.NewWriter(&b), tar.NewReader(bytes.NewReader(blob))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(tb, err)
		described[filepath.Clean(h.Name)] = true
		if h.PAXRecords["SCHILY.xattr."+accessACL]+h.PAXRecords["SCHILY.xattr."+defaultACL] != "" {
			full := *h
			full.PAXRecords = maps.Clone(h.PAXRecords)
			acls[filepath.Clean(h.Name)] = &full
		}
		delete(h.PAXRecords, "SCHILY.xattr."+accessACL)
		delete(h.PAXRecords, "SCHILY.xattr."+defaultACL)
		must(tb, w.WriteHeader(h))
		_, err = io.Copy(w, r)
		must(tb, err)
	}
	must(tb, w.Close())
	return b.Bytes(), acls, described
}

// unpacked are layers, lowest first, as containerd unpacks them: ACLs go before the
// mode, and a directory that a layer is silent about is as the layers below show it.
func (s *layerStage) unpacked(blobs [][]byte) (dirs []string) {
	s.tb.Helper()
	for _, blob := range blobs {
		plain, acls, described := withoutACLs(s.tb, blob)
		dir := s.extracted(plain)
		for name, h := range acls {
			at := filepath.Join(dir, name)
			for _, acl := range []string{accessACL, defaultACL} {
				if value := h.PAXRecords["SCHILY.xattr."+acl]; value != "" {
					must(s.tb, unix.Setxattr(at, acl, []byte(value), 0))
				}
			}
			must(s.tb, unix.Chmod(at, uint32(h.Mode)))
			must(s.tb, os.Chtimes(at, h.ModTime, h.ModTime))
		}
		if len(dirs) > 0 {
			s.inherit(dir, s.stack(dirs), described)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// inherit makes directories that were not described what they are below.
func (s *layerStage) inherit(dir, below string, described map[string]bool) {
	s.tb.Helper()
	must(s.tb, filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		must(s.tb, err)
		name, err := filepath.Rel(dir, at)
		must(s.tb, err)
		var st unix.Stat_t
		missing := unix.Lstat(filepath.Join(below, name), &st)
		if !d.IsDir() || described[name] || missing != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil //nolint:nilerr // what is not there is not inherited
		}
		must(s.tb, os.Chown(at, int(st.Uid), int(st.Gid)))
		for name, value := range attributes(s.tb, filepath.Join(below, name)) {
			must(s.tb, unix.Setxattr(at, name, []byte(value), 0))
		}
		must(s.tb, unix.Chmod(at, st.Mode&0o7777))
		return unix.UtimesNano(at, []unix.Timespec{st.Mtim, st.Mtim})
	}))
}

// extents mounts what an image consists of, lowest first.
func (s *layerStage) extents(i image.Image) (dirs []string) {
	s.tb.Helper()
	for _, e := range i.Extents {
		if e.FS == "directory" {
			dirs = append(dirs, e.Path)
			continue
		}
		file, err := os.Open(e.Path)
		must(s.tb, err)
		loop, err := linux.AttachLoop(int(file.Fd()), e.Offset, e.Size, false, "")
		must(s.tb, errors.Join(err, file.Close()))
		dir := s.mkdir("extent")
		s.mount(loop.Device(), dir, e.FS, unix.MS_RDONLY, "")
		loop.Close()
		dirs = append(dirs, dir)
	}
	return dirs
}

// pulledLayers is an image of layers, in a store of its own.
func pulledLayers(t *testing.T, blobs [][]byte) (*image.Store, image.Image) {
	t.Helper()
	reg := ownRegistry(t)
	var layers []v1.Layer
	for _, blob := range blobs {
		layers = append(layers, registrytest.LayerOf(t, registrytest.Gzip, blob))
	}
	reg.Push(t, "acls", registrytest.Image(t, v1.Config{}, layers...))
	store, err := image.Open(t.TempDir(), image.Options{Registry: reg.Client(t, nil)})
	must(t, err)
	got, err := store.Pull(t.Context(), reg.Host+"/acls", image.PullOptions{})
	must(t, err)
	return store, got
}

func TestPulledLayersShowTheACLsThatExtractedOnesDo(t *testing.T) {
	if !isolated(t) {
		return
	}
	blobs := layersWithACLs(t)
	_, img := pulledLayers(t, blobs)
	stageLayers(t, func(s *layerStage) {
		got, want := look(t, s.stack(s.extents(img))), look(t, s.stack(s.unpacked(blobs)))
		if acl := want["acl"].Xattrs; acl[accessACL] == "" || acl[defaultACL] == "" || want["acl/hard"].Xattrs[accessACL] == "" {
			t.Errorf("the extracted layers have no ACLs: %q", acl)
		}
		// The root's time is when it was made.
		delete(got, ".")
		delete(want, ".")
		compare(t, got, want)
	})
}

func TestPodSeesTheACLsOfItsImage(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	blobs := [][]byte{
		tarOf(t, tarFile{Name: "acl/", Mode: 0o750, PAXRecords: attr(defaultACL, aclFor(7, 8, 5), accessACL, aclFor(5, 6, 7))},
			tarFile{Name: "acl/file", Mode: 0o640, Linkname: "text\n", PAXRecords: attr(accessACL, aclFor(1, 2, 4))}),
		tarOf(t, tarFile{Name: "acl/new", Linkname: "new\n"}),
	}
	store, img := pulledLayers(t, blobs)
	n.make("acls", image.Config{}, append([]image.Extent{n.base(t)}, img.Extents...)...)
	n.make("mounted", image.Config{}, img.Extents...)
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	spec := n.with("c", "acls")
	spec.Mounts = []runtime.Mount{{Image: "mounted", Target: "/mnt", Readonly: true}}
	made, err := e.CreateContainer(t.Context(), i.ID, spec)
	must(t, err)
	// What was recorded is enough for another engine.
	must(t, e.Close())
	e = n.open(t)
	must(t, e.StartContainer(t.Context(), made.ID))
	running, err := e.Container(made.ID)
	must(t, err)
	root := filepath.Join("/proc", strconv.Itoa(running.PID), "root")
	var want []string
	stageLayers(t, func(s *layerStage) {
		dir := s.stack(s.unpacked(blobs))
		for _, name := range []string{"acl", "acl/file", "acl/new"} {
			want = append(want, aclsOf(t, filepath.Join(dir, name)))
		}
	})
	for _, at := range []string{root, root + "/mnt"} {
		for k, name := range []string{"acl", "acl/file", "acl/new"} {
			if got := aclsOf(t, filepath.Join(at, name)); got != want[k] {
				t.Errorf("%s has the ACLs %q, want %q", strings.TrimPrefix(at+"/"+name, root), got, want[k])
			}
		}
	}
	out, _, exit, err := e.ExecSync(t.Context(), made.ID, runtime.ExecSpec{
		Args: []string{"sh", "-c", "cat /acl/file /acl/new; echo x >>/acl/file && touch /acl/made && ls /acl"},
	}, 1<<10)
	if err != nil || exit.Code != 0 || string(out) != "text\nnew\nfile\nmade\nnew\n" {
		t.Errorf("ExecSync() = %q, %+v, %v", out, exit, err)
	}
	if got := aclsOf(t, root+"/acl/file"); got != want[1] {
		t.Errorf("a file that was written to has the ACLs %q, want %q", got, want[1])
	}
	if got := aclsOf(t, root+"/acl/made"); got == "" {
		t.Error("a file made in a directory with a default ACL has none")
	}
	bytes, _, _, err := store.Usage()
	if err != nil || int64(bytes) < img.Size {
		t.Errorf("Usage() = %d, %v, want the %d bytes of the image and more", bytes, err, img.Size)
	}
}

// aclsOf are both ACLs of a name.
func aclsOf(t *testing.T, path string) string {
	t.Helper()
	var all []string
	value := make([]byte, 1<<10)
	for _, name := range []string{accessACL, defaultACL} {
		n, err := unix.Lgetxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		must(t, err)
		all = append(all, name+"="+string(value[:n]))
	}
	return strings.Join(all, " ")
}
