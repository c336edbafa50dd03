package image

import (
	"bytes"
	"encoding/binary"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/sif"
)

// makeSIF writes a small SIF whose content depends on seed.
func makeSIF(tb testing.TB, path, seed string) string {
	tb.Helper()
	return makeSIFFor(tb, path, seed, goruntime.GOARCH)
}

func makeSIFFor(tb testing.TB, path, seed, arch string) string {
	tb.Helper()
	squash := make([]byte, 4096)
	copy(squash, "hsqs")
	binary.LittleEndian.PutUint16(squash[20:], 1)
	binary.LittleEndian.PutUint16(squash[28:], 4)
	err := sif.Create(path, sif.Options{Deterministic: true, Objects: []sif.Object{
		{Type: sif.TypeDefinition, Data: strings.NewReader(seed)},
		{Type: sif.TypeJSON, Name: "oci-config.json", Data: strings.NewReader(`{"Cmd": ["sh"]}`)},
		{Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: arch, Data: bytes.NewReader(squash)},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func openStore(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for _, problem := range s.Problems() {
		tb.Errorf("Problems: %v", problem)
	}
	return s
}

// must returns the image or fails the test.
func must(tb testing.TB) func(Image, error) Image {
	tb.Helper()
	return func(image Image, err error) Image {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return image
	}
}

func listed(tb testing.TB, s *Store) [][]string {
	tb.Helper()
	images, err := s.List()
	if err != nil {
		tb.Fatal(err)
	}
	var refs [][]string
	for _, image := range images {
		refs = append(refs, image.References)
	}
	return refs
}
