package cgroups

import (
	"context"
	"errors"
	"testing"
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
