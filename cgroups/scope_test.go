package cgroups

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// noUnits is a systemd that is never asked.
type noUnits struct{}

func (noUnits) StartScope(string, string) (int, func(), error) {
	return 0, nil, errors.New("asked")
}

func (noUnits) StartSlice(string) error { return errors.New("asked") }

func (noUnits) Limit(string, map[string]string) error { return errors.New("asked") }

func (noUnits) Stop(context.Context, string) error { return errors.New("asked") }

func TestSlicesAreExpanded(t *testing.T) {
	m := &Manager{version: 2, units: noUnits{}}
	for parent, want := range map[string]string{
		"siflet.slice":                             "/siflet.slice",
		"/siflet.slice/":                           "/siflet.slice",
		"kubepods-burstable-poda_b.slice":          "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice",
		"/kubepods.slice/kubepods-burstable.slice": "/kubepods.slice/kubepods-burstable.slice",
		"kubepods.slice/kubepods-burstable.slice":  "/kubepods.slice/kubepods-burstable.slice",
		"-.slice":                               "/",
		"/kubepods":                             "",
		"":                                      "",
		".slice":                                "",
		"a--b.slice":                            "",
		"-a.slice":                              "",
		"a-.slice":                              "",
		"/other.slice/kubepods-burstable.slice": "",
		"../kubepods.slice":                     "",
		"kubepods.slice/kubepods-burstable.slice/x":  "",
		"/kubepods.slice/kubepods-burstable.service": "",
	} {
		got, err := m.Parent(parent)
		if got != want || (want == "") != errors.Is(err, ErrInvalid) {
			t.Errorf("Parent(%q) = %q, %v, want %q", parent, got, err, want)
		}
	}
	if got := m.Name("siflet-1"); got != "siflet-1.scope" {
		t.Errorf("Name() = %q", got)
	}
	plain := &Manager{version: 2}
	if got, err := plain.Parent("kubepods/pod1"); got != "/kubepods/pod1" || err != nil || plain.Name("x") != "x" {
		t.Errorf("Parent() without systemd = %q, %v", got, err)
	}
}

func TestSystemdNeedsV2(t *testing.T) {
	plain, err := New(Config{})
	if err != nil {
		t.Skip(err)
	}
	if _, err = New(Config{Units: noUnits{}}); (err == nil) != (plain.Version() == 2) {
		t.Errorf("New() with systemd on v%d = %v", plain.Version(), err)
	}
}

// heard is a systemd that notes what it is told.
type heard struct {
	noUnits
	files map[string]string
}

func (h *heard) Limit(_ string, files map[string]string) error {
	h.files = files
	return nil
}

func TestSystemdHearsOfAllLimitsButThoseTheKernelLacks(t *testing.T) {
	units := &heard{}
	m := &Manager{version: 2, units: units, tree: []hierarchy{{mount: t.TempDir(), controllers: []string{"io", "memory"}, unified: true}}}
	g := m.Load("/siflet.slice/siflet-1.scope")
	dir := m.tree[0].mount + g.path
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"memory.max": "max\n", "io.weight": "default 100\n"} {
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := &specs.LinuxResources{
		BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(200))}, // io.bfq.weight, or io.weight without it
		Memory:  &specs.LinuxMemory{Limit: new(int64(1 << 20))},
	}
	settings, err := m.settings(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.apply(settings, true); err != nil {
		t.Fatal(err)
	}
	if err := g.tellUnit(settings); err != nil {
		t.Fatal(err)
	}
	if got := units.files["memory.max"]; got != "1048576" {
		t.Errorf("systemd heard of %v, want memory.max among it", units.files)
	}
}
