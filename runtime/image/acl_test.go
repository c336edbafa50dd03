package image

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/registrytest"
)

// withACL is an image of a layer with an ACL and one of its own.
func withACL(tb testing.TB, own string) v1.Image {
	tb.Helper()
	const nobody = 1<<32 - 1
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 7, nobody}, {2, 6, 5}, {4, 5, nobody}, {16, 7, nobody}, {32, 1, nobody}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
		acl = binary.LittleEndian.AppendUint32(acl, e[2])
	}
	file := registrytest.Entry{Content: "x", Header: tar.Header{Name: "etc/x", PAXRecords: map[string]string{"SCHILY.xattr." + layer.AccessACL: string(acl)}}}
	return registrytest.Image(tb, v1.Config{},
		registrytest.Layer(tb, registrytest.Gzip, registrytest.Dir("etc/"), file),
		registrytest.Layer(tb, registrytest.Gzip, registrytest.File("own", own)))
}

// aclDirs are those of a store.
func aclDirs(tb testing.TB, dir string) []string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(dir, layersDir, "*"+aclSuffix))
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func TestACLsComeAndGoWithTheirLayer(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web:1", withACL(t, "one"))
	reg.Push(t, "web:2", withACL(t, "two"))
	s := openWith(t, reg, dir)
	must(t)(s.Pull(t.Context(), reg.Host+"/web:1", PullOptions{}))
	must(t)(s.Pull(t.Context(), reg.Host+"/web:2", PullOptions{}))
	s = openWith(t, reg, dir)
	for _, ref := range []string{"web:1", "web:2"} {
		if dirs := aclDirs(t, dir); len(dirs) != 1 {
			t.Errorf("with %s: %v, want one", ref, dirs)
		}
		if err := s.Remove(t.Context(), reg.Host+"/"+ref); err != nil {
			t.Fatal(err)
		}
	}
	if left := contents(t, dir); left != nil {
		t.Errorf("%v were left", left)
	}
}

func TestALayerWithoutItsACLsIsMadeAgain(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", withACL(t, "one"))
	s := openWith(t, reg, dir)
	before := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if len(before.Extents) == 2 {
		t.Skip("needs root and a file system with ACLs")
	}
	i := slices.IndexFunc(before.Extents, func(e Extent) bool { return e.FS == directoryFS })
	want := Extent{Path: filepath.Join(aclDirs(t, dir)[0], aclRoot), FS: directoryFS}
	if i != 1 || before.Extents[i] != want {
		t.Errorf("extents are %v, want %v above the lowest", before.Extents, want)
	}
	if err := os.RemoveAll(aclDirs(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(reg.Host + "/web"); !errors.Is(err, ErrDamaged) {
		t.Errorf("Lookup = %v, want ErrDamaged", err)
	}
	after := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if diff := cmp.Diff(before.Extents, after.Extents); diff != "" || len(aclDirs(t, dir)) != 1 {
		t.Errorf("extents (-before +after):\n%s", diff)
	}
}

func TestACLsInUseStayAsLongAsTheyAre(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", withACL(t, "one"))
	s := openWith(t, reg, dir)
	img := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if len(img.Extents) == 2 {
		t.Skip("needs root and a file system with ACLs")
	}
	used, err := os.Open(img.Extents[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := linux.TryShare(used); !ok || err != nil {
		t.Fatalf("TryShare = %v, %v", ok, err)
	}
	if err := s.Remove(t.Context(), img.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(used.Name(), "etc/x")); err != nil {
		t.Errorf("what is in use is gone: %v", err)
	}
	if err := used.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := contents(t, dir); left != nil {
		t.Errorf("%v were left", left)
	}
}

func TestAPullThatBrokeOffIsTakenUpWithItsACLs(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	reg.Push(t, "web", withACL(t, "one"))
	s := openWith(t, reg, dir)
	before := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	// As if the process had been killed before it committed the image.
	bench := filepath.Join(dir, ingestDir, "pull-x")
	err := errors.Join(os.RemoveAll(s.recordPath(strings.TrimPrefix(before.ID, idScheme))), os.Rename(filepath.Join(dir, layersDir), bench))
	if err != nil {
		t.Fatal(err)
	}
	s = openWith(t, reg, dir)
	reg.Reset()
	after := must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	if diff := cmp.Diff(before.Extents, after.Extents); diff != "" || len(aclDirs(t, dir)) != 1 {
		t.Errorf("extents (-before +after):\n%s", diff)
	}
	_, layers, _ := digests(t, withACL(t, "one"))
	for _, l := range layers {
		if n := reg.BlobGets(l); n > 0 {
			t.Errorf("%s was fetched again", l)
		}
	}
}

func TestDirectoriesMayHaveAnyBytes(t *testing.T) {
	d := layer.Directory{Path: "a\xff", Mode: 0o40700, UID: 1, Time: -5, Xattrs: map[string]string{"user.\xfe": "\x00\xff", "user.a": ""}}
	path := filepath.Join(t.TempDir(), "layer.sif")
	r := layer.Result{Whiteouts: []string{"b\xff"}, Directories: []layer.Directory{d}, ACLs: []layer.ACL{{Path: "x"}}}
	if err := sif.Create(path, sif.Options{Objects: []sif.Object{directories(&r)}}); err != nil {
		t.Fatal(err)
	}
	var got []layer.Directory
	head, err := readDirectories(path, func(d layer.Directory) { got = append(got, d) })
	if err != nil || !slices.Equal(head.Whiteouts, []string{"b\xff"}) {
		t.Errorf("head = %q, %v", head, err)
	}
	if diff := cmp.Diff([]layer.Directory{d}, got); diff != "" {
		t.Error(diff)
	}
	if summary, err := readSummary(path); err != nil || summary.ACLs != 1 {
		t.Errorf("summary = %+v, %v, want an ACL", summary, err)
	}
}
