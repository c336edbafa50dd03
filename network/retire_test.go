package network

import (
	"errors"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

func TestRetireKeepsABridgeInUse(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	m.attached("a")
	if err := m.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.bridge.host.linkByName(m.bridge.name); err != nil {
		t.Errorf("bridge after Retire = %v, want it to stay", err)
	}
}

func TestRetireLeavesNothingAndAttachWorksAgain(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	req, res := m.attached("a")
	if err := m.Detach(t.Context(), req, res); err != nil {
		t.Fatal(err)
	}
	if err := m.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.bridge.host.linkByName(m.bridge.name); !errors.Is(err, unix.ENODEV) {
		t.Errorf("bridge after Retire = %v, want ENODEV", err)
	}
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == m.bridge.nat.table() {
			t.Errorf("nftables table %s is still there", table.Name)
		}
	}
	if exists(m.bridge.leases.dir) {
		t.Errorf("%s is still there", m.bridge.leases.dir)
	}
	m.attached("b")
}
