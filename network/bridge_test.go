package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestHoldersReachEachOtherAndTheHost(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	a, _ := m.attached("a")
	b, res := m.attached("b")
	serve(t, b.Netns, 80)
	serve(t, "", 81)
	if len(res.Addresses) != 2 || len(res.Gateways) != 2 {
		t.Fatalf("Attach() = %+v, want two addresses and two gateways", res)
	}
	for i, addr := range res.Addresses {
		reach(t, a.Netns, at80(addr))
		reach(t, "", at80(addr))
		reach(t, a.Netns, netip.AddrPortFrom(res.Gateways[i], 81).String())
	}
	if seen := reach(t, b.Netns, "localhost:80"); !seen.IsLoopback() {
		t.Errorf("loopback client was seen as %s", seen)
	}
}

func TestResultSurvivesJSON(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	_, want := m.attached("a", Port{Host: 8080, Container: 80, HostIP: netip.MustParseAddr("127.0.0.1")}, Port{Host: 81, Container: 80})
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, same, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s\n%s", diff, data)
	}
}

func TestDetachLeavesNothingAndMayBeRepeated(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	req, res := m.attached("a", Port{Host: 8080, Container: 80, Protocol: "udp"})
	if err := Unpin(req.Netns); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Detach(t.Context(), req, res); err != nil {
			t.Fatal(err)
		}
	}
	waitGone(t, linkName(leaseKey(req.Owner, req.ID)))
	m.wantNothingLeft()
	m.attached("b", Port{Host: 8080, Container: 80, Protocol: "udp"})
}

func TestFailedAttachLeavesNothing(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	_, first := m.attached("first")
	if err := m.Detach(t.Context(), Request{ID: "first", Owner: m.dir + "/first.json"}, first); err != nil {
		t.Fatal(err)
	}
	if err := Unpin("/run/netns/first"); err != nil {
		t.Fatal(err)
	}
	waitGone(t, linkName(leaseKey(m.dir+"/first.json", "first")))

	// The namespace has an eth0 already, so the link can't be made.
	req := m.request("a", Port{Host: 8080, Container: 80})
	ns, err := openNetns(req.Netns)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	err = inside(ns, func() error {
		return exec.CommandContext(t.Context(), "ip", "link", "add", "eth0", "type", "bridge").Run()
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Attach(t.Context(), req); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Attach() = %v, want EEXIST", err)
	}
	m.wantNothingLeft()

	req = m.request("b", Port{Host: 8080, Container: 80})
	req.Netns = m.dir + "/b.json"
	if _, err := m.Attach(t.Context(), req); err == nil {
		t.Error("Attach() to a plain file succeeded")
	}
	m.wantNothingLeft()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Attach(ctx, m.request("c", Port{Host: 8080, Container: 80})); !errors.Is(err, context.Canceled) {
		t.Errorf("Attach() = %v, want canceled", err)
	}
	m.wantNothingLeft()
}

func TestCollectFreesWhatCrashesLeft(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	_, kept := m.attached("kept", Port{Host: 80, Container: 80})
	gone, _ := m.attached("gone", Port{Host: 8080, Container: 80})
	if err := os.Remove(gone.Owner); err != nil {
		t.Fatal(err)
	}
	// A crash while the lease was written.
	if err := os.WriteFile(m.bridge.leases.held("aaaaaaaaaaa"), []byte(`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	// A crash after detach, with the namespace held by someone.
	late, res := m.attached("late")
	if err := m.Detach(t.Context(), late, res); err != nil {
		t.Fatal(err)
	}
	other := newMachine(t, func(c *Config) { c.LeaseDir = m.cfg.LeaseDir })
	if err := other.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	key := leaseKey(m.dir+"/kept.json", "kept")
	want := []string{
		"held/" + key, "addr/" + kept.Addresses[0].Addr().String(), "addr/" + kept.Addresses[1].Addr().String(),
		"port/tcp-80-0.0.0.0", "port/tcp-80-::", linkName(key),
	}
	if diff := cmp.Diff(want, m.leftovers()); diff != "" {
		t.Errorf("after Collect (-want +got):\n%s", diff)
	}
	m.attached("next", Port{Host: 8080, Container: 80})
}

func TestAPortOfADeadHolderIsFree(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	gone, _ := m.attached("gone", Port{Host: 8080, Container: 80})
	if err := os.Remove(gone.Owner); err != nil {
		t.Fatal(err)
	}
	next, _ := m.attached("next", Port{Host: 8080, Container: 80})
	serve(t, next.Netns, 80)
	if _, err := ask(t, "", "tcp", "127.0.0.1:8080"); err != nil {
		t.Error(err)
	}
}

func TestAttachAgainAfterACrashReplaces(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	req, _ := m.attached("a", Port{Host: 8080, Container: 80})
	req.Netns = newNetns(t, "a2")
	if _, err := m.Attach(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	serve(t, req.Netns, 80)
	if _, err := ask(t, "", "tcp", "127.0.0.1:8080"); err != nil {
		t.Error(err)
	}
}

func TestStatusRepairsFlushedRules(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	a, _ := m.attached("a", Port{Host: 8080, Container: 80}, Port{Host: 8081, Container: 80, HostIP: netip.MustParseAddr("127.0.0.1")})
	serve(t, a.Netns, 80)
	for _, table := range []string{"ip", "ip6"} {
		if out, err := exec.CommandContext(t.Context(), "nft", "delete", "table", table, "siflet").CombinedOutput(); err != nil {
			t.Skipf("nft: %v: %s", err, out)
		}
	}
	if err := m.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"8080", "8081"} {
		if _, err := ask(t, "", "tcp", "127.0.0.1:"+port); err != nil {
			t.Error(err)
		}
	}
}

func TestHundredHoldersAtOnce(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	other := newMachine(t, nil) // another process, as far as leases are concerned
	const count = 100
	reqs, ress := make([]Request, count), make([]Result, count)
	for i := range reqs {
		reqs[i] = m.request(fmt.Sprint("holder-", i), Port{Host: uint16(10000 + i), Container: 80})
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range reqs {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			network := m.Network
			if i%2 == 1 {
				network = other.Network
			}
			var err error
			if ress[i], err = network.Attach(t.Context(), reqs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	seen := map[netip.Addr]bool{}
	for i, res := range ress {
		for _, a := range res.Addresses {
			if seen[a.Addr()] {
				t.Errorf("%s was given out twice", a)
			}
			seen[a.Addr()] = true
		}
		if err := m.Check(t.Context(), reqs[i], res); err != nil {
			t.Error(err)
		}
	}
	serve(t, reqs[99].Netns, 80)
	if _, err := ask(t, reqs[0].Netns, "tcp", at80(ress[99].Addresses[1])); err != nil {
		t.Error(err)
	}
	for i := range reqs {
		group.Go(func() {
			if err := errors.Join(m.Detach(t.Context(), reqs[i], ress[i]), Unpin(reqs[i].Netns)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	eventually(t, "the links to go", func() bool { return len(hostLinks(t)) < 100 && len(m.leftovers()) <= 1 })
	// The server's socket still holds the last namespace.
	if err := m.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	m.wantNothingLeft()
}
