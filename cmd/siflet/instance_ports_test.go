package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/network"
)

func TestEachMappedPortIsListed(t *testing.T) {
	listening := []port{{Protocol: "tcp", Port: 80, Address: "0.0.0.0"}, {Protocol: "tcp", Port: 81, Address: "::"}}
	got := withMapped(listening, []network.Port{
		{Protocol: "tcp", Host: 8082, Container: 80},
		{Protocol: "tcp", Host: 8081, Container: 80},
		{Protocol: "udp", Host: 8083, Container: 80},
		{Protocol: "tcp", Container: 81},
	})
	want := []port{
		{Protocol: "tcp", Port: 80, Address: "0.0.0.0", Host: 8081},
		{Protocol: "tcp", Port: 80, Address: "0.0.0.0", Host: 8082},
		{Protocol: "udp", Port: 80, Host: 8083},
		{Protocol: "tcp", Port: 81, Address: "::"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("withMapped() (-want +got):\n%s", diff)
	}
}
