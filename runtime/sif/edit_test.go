package sif_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	refsif "github.com/sylabs/sif/v2/pkg/sif"

	"github.com/siflet/siflet/runtime/sif"
)

// edited makes a file with a definition, two system partitions and a signature of group 2.
func edited(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.sif")
	f, err := refsif.CreateContainerAtPath(path)
	if err != nil {
		t.Fatal(err)
	}
	object := func(kind refsif.DataType, text string, o ...refsif.DescriptorInputOpt) {
		input, err := refsif.NewDescriptorInput(kind, strings.NewReader(text), o...)
		if err == nil {
			err = f.AddObject(input)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	object(refsif.DataDeffile, "Bootstrap: scratch\n", refsif.OptGroupID(2), refsif.OptObjectName("def"))
	object(refsif.DataPartition, "primary", refsif.OptPartitionMetadata(refsif.FsSquash, refsif.PartPrimSys, "amd64"))
	object(refsif.DataPartition, "other", refsif.OptPartitionMetadata(refsif.FsSquash, refsif.PartSystem, "arm64"))
	object(refsif.DataSignature, "signature", refsif.OptNoGroup(), refsif.OptLinkedGroupID(2), refsif.OptSignatureMetadata(5, bytes.Repeat([]byte{7}, 20)))
	if err := f.UnloadContainer(); err != nil {
		t.Fatal(err)
	}
	return path
}

// seen is what others see of an object.
type seen struct {
	ID, Group, Link uint32
	Type, Name      string
	Data            string
}

func seenIn(t *testing.T, path string) (list []seen, arch string) {
	t.Helper()
	f, err := refsif.LoadContainerFromPath(path, refsif.OptLoadWithFlag(os.O_RDONLY))
	if err != nil {
		t.Fatalf("others can't read it: %v", err)
	}
	defer func() { _ = f.UnloadContainer() }()
	f.WithDescriptors(func(d refsif.Descriptor) bool {
		data, err := d.GetData()
		if err != nil {
			t.Errorf("object %d: %v", d.ID(), err)
		}
		link, _ := d.LinkedID()
		list = append(list, seen{d.ID(), d.GroupID(), link, d.DataType().String(), d.Name(), string(data)})
		return false
	})
	if ours, err := sif.Open(path); err != nil {
		t.Errorf("we can't read it: %v", err)
	} else {
		l := ours.Layout()
		if l.Free != l.Slots-int64(len(list)) || l.Free != f.DescriptorsFree() {
			t.Errorf("%d of %d descriptors are free with %d objects", l.Free, l.Slots, len(list))
		}
		_ = ours.Close()
	}
	return list, f.PrimaryArch()
}

func TestAddDeleteAsOthersReadIt(t *testing.T) {
	path := edited(t)
	before, _ := seenIn(t, path)
	added, err := sif.Add(t.Context(), path, sif.Addition{
		Object: sif.Object{Type: sif.TypePartition, Name: "overlay", FS: sif.FSExt3, Part: sif.PartOverlay, Arch: "amd64", Data: strings.NewReader("ext3")},
		Group:  1, Link: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if added.Offset%4096 != 0 || added.ID != 5 {
		t.Errorf("object %d is at %d", added.ID, added.Offset)
	}
	if _, err := sif.Add(t.Context(), path, sif.Addition{
		Object: sif.Object{Type: sif.TypeSBOM, Name: "sbom", Data: strings.NewReader("{}")}, Alignment: 512, SBOM: 4,
	}); err != nil {
		t.Fatal(err)
	}
	got, _ := seenIn(t, path)
	want := append(before, seen{5, 1, 2, "FS", "overlay", "ext3"}, seen{6, 0, 0, "SBOM", "sbom", "{}"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after two additions:\n%s", diff)
	}
	size := fileSize(t, path)
	if _, err := sif.Delete(path, 6, sif.DeleteOptions{Compact: true}); err != nil {
		t.Fatal(err)
	}
	if now := fileSize(t, path); now >= size {
		t.Errorf("%d bytes, it was %d", now, size)
	}
	if _, err := sif.Delete(path, 2, sif.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, arch := seenIn(t, path)
	if diff := cmp.Diff([]seen{want[0], want[2], want[3], want[4]}, got); diff != "" || arch != "unknown" {
		t.Errorf("after two deletions, of %s:\n%s", arch, diff)
	}
	// The ID of an object whose slot is free again is used again.
	if added, err = sif.Add(t.Context(), path, sif.Addition{Object: sif.Object{Type: sif.TypeGeneric, Data: strings.NewReader("x")}}); err != nil || added.ID != 2 {
		t.Errorf("object %d, %v, want 2", added.ID, err)
	}
}

func TestSetPrimary(t *testing.T) {
	path := edited(t)
	if err := sif.SetPrimary(path, 3, false); err != nil {
		t.Fatal(err)
	}
	f, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if old, now := f.Descriptors[1].Part, f.Descriptors[2].Part; old != sif.PartSystem || now != sif.PartPrimary {
		t.Errorf("partitions of types %d and %d", old, now)
	}
	if _, arch := seenIn(t, path); arch != "arm64" {
		t.Errorf("the file is of %s", arch)
	}
	if err := sif.SetPrimary(path, 1, false); err == nil {
		t.Error("a definition became the primary partition")
	}
}

func TestEditsKeepSignatures(t *testing.T) {
	generic := func() sif.Object { return sif.Object{Type: sif.TypeGeneric, Data: strings.NewReader("x")} }
	for name, edit := range map[string]func(path string, force bool) error{
		"add": func(path string, force bool) error {
			_, err := sif.Add(context.Background(), path, sif.Addition{Object: generic(), Group: 2, Force: force})
			return err
		},
		"delete": func(path string, force bool) error {
			_, err := sif.Delete(path, 1, sif.DeleteOptions{Force: force})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := edited(t)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := edit(path, false); !errors.Is(err, sif.ErrSigned) {
				t.Errorf("%v, want that it is signed", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed (%v)", err)
			}
			if err := edit(path, true); err != nil {
				t.Errorf("by force: %v", err)
			}
		})
	}
	path := edited(t)
	if _, err := sif.Delete(path, 4, sif.DeleteOptions{}); err != nil {
		t.Errorf("delete the signature: %v", err)
	}
	if _, err := sif.Delete(path, 1, sif.DeleteOptions{}); err != nil {
		t.Errorf("delete what was signed: %v", err)
	}
}

// peeking looks at the file that its data goes to.
type peeking struct {
	io.Reader
	look func()
}

func (p *peeking) Read(b []byte) (int, error) {
	p.look()
	return p.Reader.Read(b)
}

func TestAddBreaksOff(t *testing.T) {
	path := edited(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := seenIn(t, path)
	looks := 0
	data := &peeking{io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), failing{}), func() {
		looks++
		if now, _ := seenIn(t, path); len(now) != len(list) {
			t.Errorf("%d objects while one is added to %d", len(now), len(list))
		}
	}}
	if _, err := sif.Add(t.Context(), path, sif.Addition{Object: sif.Object{Type: sif.TypeGeneric, Data: data}}); !errors.Is(err, errFailing) {
		t.Errorf("Add() = %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) || looks == 0 {
		t.Errorf("the file changed (%v)", err)
	}
}

func TestOfTwoEditsOneIsRefused(t *testing.T) {
	path := edited(t)
	tried := false
	data := &peeking{strings.NewReader("x"), func() {
		tried = true
		if _, err := sif.Delete(path, 1, sif.DeleteOptions{Force: true}); !errors.Is(err, sif.ErrBusy) {
			t.Errorf("Delete() while an object is added = %v, want %v", err, sif.ErrBusy)
		}
	}}
	if _, err := sif.Add(t.Context(), path, sif.Addition{Object: sif.Object{Type: sif.TypeGeneric, Data: data}}); err != nil || !tried {
		t.Errorf("Add() = %v, tried %v", err, tried)
	}
	if _, err := sif.Delete(path, 1, sif.DeleteOptions{Force: true}); err != nil {
		t.Errorf("Delete() afterwards = %v", err)
	}
}

var errFailing = errors.New("no more")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestAddRefuses(t *testing.T) {
	path := edited(t)
	text := func(o sif.Object) sif.Object {
		o.Data = strings.NewReader("x")
		return o
	}
	for name, a := range map[string]sif.Addition{
		"a second primary partition": {Object: text(sif.Object{Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: "amd64"})},
		"an index beside it":         {Object: text(sif.Object{Type: sif.TypeOCIIndex})},
		"a link to nothing":          {Object: text(sif.Object{Type: sif.TypeGeneric}), Link: 77},
		"an unknown architecture":    {Object: text(sif.Object{Type: sif.TypePartition, FS: sif.FSExt3, Part: sif.PartData, Arch: "vax"})},
		"no file system":             {Object: text(sif.Object{Type: sif.TypePartition, Part: sif.PartData, Arch: "amd64"})},
		"a long name":                {Object: text(sif.Object{Type: sif.TypeGeneric, Name: strings.Repeat("n", 128)})},
		"a huge group":               {Object: text(sif.Object{Type: sif.TypeGeneric}), Group: 0xf0000001},
		"a huge alignment":           {Object: text(sif.Object{Type: sif.TypeGeneric}), Alignment: 1 << 40},
	} {
		if _, err := sif.Add(t.Context(), path, a); err == nil {
			t.Errorf("%s was added", name)
		}
	}
	if list, _ := seenIn(t, path); len(list) != 4 {
		t.Errorf("%d objects, want the 4 that were there", len(list))
	}
	if _, err := sif.Delete(path, 9, sif.DeleteOptions{}); !errors.Is(err, sif.ErrNoObject) {
		t.Errorf("Delete() = %v", err)
	}
	for range 44 {
		if _, err := sif.Add(t.Context(), path, sif.Addition{Object: text(sif.Object{Type: sif.TypeGeneric})}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sif.Add(t.Context(), path, sif.Addition{Object: text(sif.Object{Type: sif.TypeGeneric})}); err == nil {
		t.Error("49 objects in a table of 48")
	}
}

func TestDetails(t *testing.T) {
	f, err := sif.Open(edited(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.Details(f.Descriptors[3])
	if err != nil || d.Hash.String() != "SHA-256" || !bytes.Equal(d.Entity, bytes.Repeat([]byte{7}, 20)) || d.Created.IsZero() {
		t.Errorf("Details() = %+v, %v", d, err)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
