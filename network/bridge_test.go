package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
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

// outside makes a namespace that the host reaches by a link with addresses of
// its own, and that knows no route to the bridge.
func outside(t *testing.T) (path string, host, far netip.Prefix) {
	t.Helper()
	path = newNetns(t, "outside")
	ns, err := openNetns(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	in, err := socketIn(ns, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	var b batch
	b.createVeth("uplink", "eth0", int(ns.Fd()), 0, 1500, nil)
	b.linkUp("uplink")
	if err := s.run(&b, nil); err != nil {
		t.Fatal(err)
	}
	host, far = netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	for _, end := range []struct {
		s    *socket
		name string
		addr netip.Prefix
	}{{s, "uplink", host}, {in, "eth0", far}} {
		l, err := end.s.linkByName(end.name)
		if err != nil {
			t.Fatal(err)
		}
		var b batch
		b.linkUp(end.name)
		b.addAddress(l.index, end.addr)
		if err := end.s.run(&b, nil); err != nil {
			t.Fatal(err)
		}
	}
	return path, host, far
}

func TestWhatLeavesTheBridgeIsMasqueraded(t *testing.T) {
	if !isolate(t) {
		return
	}
	path, host, far := outside(t)
	serve(t, path, 80)
	m := newMachine(t, nil)
	a, _ := m.attached("a")
	if seen := reach(t, a.Netns, at80(far)); seen != host.Addr() {
		t.Errorf("client was seen as %s, want %s", seen, host.Addr())
	}
}

func TestHostPorts(t *testing.T) {
	if !isolate(t) {
		return
	}
	path, host, far := outside(t)
	m := newMachine(t, nil)
	a, res := m.attached("a",
		Port{Host: 8080, Container: 80}, Port{Host: 8080, Container: 80, Protocol: "udp"},
		Port{Host: 8081, Container: 80, HostIP: host.Addr()},
		Port{Host: 8081, Container: 80, HostIP: host.Addr(), Protocol: "udp"})
	b, _ := m.attached("b")
	serve(t, a.Netns, 80)
	reach(t, "", "127.0.0.1:8080")
	reach(t, "", host.Addr().String()+":8080")
	reach(t, "", host.Addr().String()+":8081")
	if seen := reach(t, path, host.Addr().String()+":8080"); seen != far.Addr() {
		t.Errorf("client from outside was seen as %s, want %s", seen, far.Addr())
	}
	reach(t, path, host.Addr().String()+":8081")
	for _, from := range []Request{a, b} {
		for _, gateway := range res.Gateways {
			reach(t, from.Netns, netip.AddrPortFrom(gateway, 8080).String())
		}
	}
	for _, refused := range []string{"127.0.0.1:8081", "[::1]:8080"} {
		if _, err := ask(t, "", "tcp", refused); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connect to %s: %v, want refused", refused, err)
		}
	}
	if err := m.Detach(t.Context(), a, res); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, "", "tcp", "127.0.0.1:8080"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect after Detach: %v, want refused", err)
	}
}

func TestHoldersDoNotReachTheHostsLoopback(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	a, res := m.attached("a")
	serve(t, "", 81)
	ns, err := openNetns(a.Netns)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	// A hostile holder sends 127.0.0.2 out of its interface.
	err = inside(ns, func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0),
			exec.CommandContext(t.Context(), "ip", "addr", "del", "127.0.0.1/8", "dev", "lo").Run(),
			exec.CommandContext(t.Context(), "ip", "route", "add", "127.0.0.2", "via", res.Gateways[0].String(), "src", res.Addresses[0].Addr().String()).Run())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		if seen, err := ask(t, a.Netns, network, "127.0.0.2:81"); err == nil {
			t.Errorf("%s reached the host's loopback as %s", network, seen)
		}
	}
}

func TestAttachRefusesATakenPort(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	m.attached("first", Port{Host: 8080, Container: 80})
	listener, err := net.Listen("tcp", "127.0.0.1:9090")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	udp, err := net.ListenPacket("udp", ":9091")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	before := m.leftovers()
	self := fmt.Sprintf("process %d (", os.Getpid())
	for _, c := range []struct {
		port   Port
		holder string
	}{
		{Port{Host: 8080, Container: 81}, "first"},
		{Port{Host: 8080, Container: 81, HostIP: netip.MustParseAddr("127.0.0.1")}, "first"},
		{Port{Host: 9090, Container: 80}, self},
		{Port{Host: 9091, Container: 80, Protocol: "udp"}, self},
	} {
		req := m.request(fmt.Sprintf("second-%d-%s", c.port.Host, c.port.HostIP), c.port)
		_, err := m.Attach(t.Context(), req)
		if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), c.holder) ||
			!strings.Contains(err.Error(), fmt.Sprint(c.port.Host)) {
			t.Errorf("Attach(%+v) = %v, want ErrPortTaken with the port and %q", c.port, err, c.holder)
		}
	}
	if diff := cmp.Diff(before, m.leftovers()); diff != "" {
		t.Errorf("refused attaches changed (-before +after):\n%s", diff)
	}
	// The other protocol is another port.
	m.attached("third", Port{Host: 8080, Container: 80, Protocol: "udp"}, Port{Host: 9090, Container: 80, Protocol: "udp"})
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
	defer ns.Close()
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
	waitGone(t, linkName(leaseKey(reqs[99].Owner, reqs[99].ID)))
	m.wantNothingLeft()
}

func TestBandwidthIsLimited(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	req := m.request("a")
	req.IngressBps, req.EgressBps = 1_000_000, 2_000_000
	if _, err := m.Attach(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "tc", "qdisc", "show", "dev", linkName(leaseKey(req.Owner, req.ID))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "tbf") || !strings.Contains(string(out), "rate 1Mbit") {
		t.Errorf("outer end: %s %v, want tbf at 1Mbit", out, err)
	}
	ns, err := openNetns(req.Netns)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = inside(ns, func() error {
		out, err = exec.CommandContext(t.Context(), "tc", "qdisc", "show", "dev", "eth0").CombinedOutput()
		return err
	})
	if err != nil || !strings.Contains(string(out), "rate 2Mbit") {
		t.Errorf("inner end: %s %v, want tbf at 2Mbit", out, err)
	}
}

func TestForwardChainThatDropsIsOpened(t *testing.T) {
	if !isolate(t) {
		return
	}
	for _, args := range [][]string{{"add table ip filter"}, {"add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"}} {
		if out, err := exec.CommandContext(t.Context(), "nft", args...).CombinedOutput(); err != nil {
			t.Skipf("nft: %v: %s", err, out)
		}
	}
	path, _, far := outside(t)
	serve(t, path, 80)
	m := newMachine(t, nil)
	a, _ := m.attached("a")
	reach(t, a.Netns, at80(far))
	if err := m.Status(t.Context()); err != nil {
		t.Error(err)
	}
	out, err := exec.CommandContext(t.Context(), "nft", "list", "chain", "ip", "filter", "FORWARD").CombinedOutput()
	if n := strings.Count(string(out), `"siflet0"`); err != nil || n != 2 {
		t.Errorf("FORWARD speaks of the bridge %d times, want 2 (%v):\n%s", n, err, out)
	}
}

func TestCountersMatchFromInsideAndOutside(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	a, res := m.attached("a")
	serve(t, a.Netns, 80)
	reach(t, "", at80(res.Addresses[0]))
	outer, err := m.Counters(a, res)
	if err != nil {
		t.Fatal(err)
	}
	innermost, err := Counters(a.Netns)
	if err != nil {
		t.Fatal(err)
	}
	if len(outer) != 1 || len(innermost) != 1 || outer[0].RxBytes == 0 || outer[0].TxBytes == 0 || outer[0].Name != innermost[0].Name {
		t.Errorf("outside %+v, inside %+v", outer, innermost)
	}
	if outer[0].RxBytes > innermost[0].RxBytes || outer[0].TxBytes > innermost[0].TxBytes {
		t.Errorf("outside %+v is ahead of inside %+v", outer, innermost)
	}
}
