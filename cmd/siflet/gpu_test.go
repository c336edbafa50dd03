package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime"
)

func TestGPUListsHoldNames(t *testing.T) {
	for name, text := range map[string]string{"nvliblist.conf": nvList, "rocmliblist.conf": rocmList} {
		names := gpuList(name, text)
		if len(names) < 10 || slices.ContainsFunc(names, func(n string) bool { return strings.ContainsAny(n, " #/") }) {
			t.Errorf("%s holds %q", name, names)
		}
	}
}

func TestHostLibrariesComeLast(t *testing.T) {
	for _, c := range []struct {
		o          actionOptions
		env, image []string
		want       string
	}{
		{actionOptions{}, []string{"A=b"}, nil, "A=b"},
		{actionOptions{nv: true}, []string{"A=b"}, nil, "LD_LIBRARY_PATH=/.singularity.d/libs"},
		{actionOptions{rocm: true}, nil, []string{"LD_LIBRARY_PATH=/image"}, "LD_LIBRARY_PATH=/image:/.singularity.d/libs"},
		{actionOptions{nv: true}, []string{"LD_LIBRARY_PATH=/set"}, []string{"LD_LIBRARY_PATH=/image"}, "LD_LIBRARY_PATH=/set:/.singularity.d/libs"},
	} {
		got := c.o.withLibraries(c.env, c.image)
		if got[len(got)-1] != c.want {
			t.Errorf("withLibraries(%q, %q) = %q, want it to end with %q", c.env, c.image, got, c.want)
		}
	}
}

func TestLibrariesAreForThisMachine(t *testing.T) {
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good, other := write("libgood.so.1", self), slices.Clone(self)
	other[18], other[19] = 8, 0 // EM_MIPS
	wrong := write("libwrong.so.1", other)
	listing := write("listing", []byte("\tlibgood.so.1 (libc6) => "+good+"\n\tlibgood.so.1 (libc6) => /no/such\n\tlibwrong.so.1 (libc6) => "+wrong+"\n"))
	write("ldconfig", []byte("#!/bin/sh\n/bin/cat "+listing+"\n"))
	program := write("tool", []byte("#!/bin/sh\n"))
	t.Setenv("PATH", dir)
	libraries, programs, err := findFiles(t.Context(), []string{"tool", "missing", "libgood.so", "libwrong.so", "libnone.so", good})
	if err != nil || !slices.Contains(libraries, good) || slices.Contains(libraries, wrong) || !slices.Equal(programs, []string{program}) {
		t.Errorf("findFiles = %q, %q, %v", libraries, programs, err)
	}
}

func TestContainedGPUsHaveTheirNodes(t *testing.T) {
	var said bytes.Buffer
	for _, contained := range []bool{true, false} {
		o, spec := actionOptions{contain: contained}, runtime.ContainerSpec{}
		o.gpuNodes(&said, &spec, "/dev/[nf]ull", "/dev/no-such")
		if got := len(spec.Devices); said.Len() > 0 || contained && got != 2 || !contained && got != 0 {
			t.Errorf("contained %t: %v, %s", contained, spec.Devices, &said)
		}
	}
}
