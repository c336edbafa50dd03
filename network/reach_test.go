package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// outside makes a namespace that the host reaches by a link with addresses of
// its own, and that knows no route to the bridge.
func outside(t *testing.T) (path string, host, far netip.Prefix) {
	t.Helper()
	path = newNetns(t, "outside")
	ns, err := openNetns(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
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
	defer func() { _ = ns.Close() }()
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
	defer func() { _ = listener.Close() }()
	udp, err := net.ListenPacket("udp", ":9091")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
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
			!strings.Contains(err.Error(), strconv.Itoa(int(c.port.Host))) {
			t.Errorf("Attach(%+v) = %v, want ErrPortTaken with the port and %q", c.port, err, c.holder)
		}
	}
	if diff := cmp.Diff(before, m.leftovers()); diff != "" {
		t.Errorf("refused attaches changed (-before +after):\n%s", diff)
	}
	// The other protocol is another port.
	m.attached("third", Port{Host: 8080, Container: 80, Protocol: "udp"}, Port{Host: 9090, Container: 80, Protocol: "udp"})
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
