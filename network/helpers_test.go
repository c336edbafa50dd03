package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a Network on an empty machine.
type machine struct {
	*Network
	t   testing.TB
	dir string
	log *bytes.Buffer
}

func newMachine(tb testing.TB, change func(*Config)) *machine {
	tb.Helper()
	if os.Getenv(isolated) == "" {
		tb.Fatal("call isolate first: this would change the network of the machine")
	}
	m := &machine{t: tb, dir: tb.TempDir(), log: &bytes.Buffer{}}
	cfg := Config{
		CNIConfDir: filepath.Join(m.dir, "net.d"),
		StateDir:   filepath.Join(m.dir, "state"),
		Log:        slog.New(slog.NewTextHandler(m.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	m.Network = n
	return m
}

// request is for a holder called id, whose namespace and owner file it makes.
func (m *machine) request(id string, ports ...Port) Request {
	m.t.Helper()
	owner := filepath.Join(m.dir, id+".json")
	if err := os.WriteFile(owner, nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return Request{ID: id, Netns: newNetns(m.t, id), Owner: owner, Name: id, Namespace: "test", Ports: ports}
}

func (m *machine) attached(id string, ports ...Port) (Request, Result) {
	m.t.Helper()
	req := m.request(id, ports...)
	res, err := m.Attach(m.t.Context(), req)
	if err != nil {
		m.t.Fatal(err)
	}
	return req, res
}

// leftovers lists leases, names and links of the built-in bridge.
func (m *machine) leftovers() []string {
	m.t.Helper()
	var left []string
	for _, sub := range []string{"held", "addr", "port"} {
		entries, err := os.ReadDir(filepath.Join(m.bridge.leases.dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			m.t.Fatal(err)
		}
		for _, entry := range entries {
			left = append(left, sub+"/"+entry.Name())
		}
	}
	for _, one := range hostLinks(m.t) {
		if one.kind == "veth" || one.kind == "ifb" {
			left = append(left, one.name)
		}
	}
	return left
}

func (m *machine) wantNothingLeft() {
	m.t.Helper()
	if left := m.leftovers(); len(left) > 0 {
		m.t.Errorf("left: %v", left)
	}
}

func hostLinks(tb testing.TB) []link {
	tb.Helper()
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.close()
	links, err := s.links()
	if err != nil {
		tb.Fatal(err)
	}
	return links
}

// waitGone waits until no link called name is left.
func waitGone(tb testing.TB, name string) {
	tb.Helper()
	eventually(tb, "link "+name+" to go", func() bool {
		for _, one := range hostLinks(tb) {
			if one.name == name {
				return false
			}
		}
		return true
	})
}

func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("waited a minute for %s", what)
		}
	}
}

// serve answers on port in the namespace at path ("" is the host's), in TCP and
// UDP, with the client's address.
func serve(tb testing.TB, path string, port uint16) {
	tb.Helper()
	do := func(f func() error) error { return f() }
	if path != "" {
		ns, err := openNetns(path)
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = ns.Close() }()
		do = func(f func() error) error { return inside(ns, f) }
	}
	err := do(func() error {
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		if err != nil {
			return err
		}
		tb.Cleanup(func() { _ = tcp.Close() })
		udp, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		if err != nil {
			return err
		}
		tb.Cleanup(func() { _ = udp.Close() })
		go func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, c.RemoteAddr().String())
				_ = c.Close()
			}
		}()
		go func() {
			buf := make([]byte, 2048)
			for {
				_, from, err := udp.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = udp.WriteToUDPAddrPort([]byte(from.String()), from)
			}
		}()
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// ask connects from the namespace at path ("" is the host's) and returns the
// address that the server saw.
func ask(tb testing.TB, path, network, address string) (netip.Addr, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 3*time.Second)
	defer cancel()
	dial := func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	if path != "" {
		dial = func() (net.Conn, error) { return Dial(ctx, path, network, address) }
	}
	conn, err := dial()
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return netip.Addr{}, err
		}
	}
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if err != nil {
		return netip.Addr{}, err
	}
	seen, err := netip.ParseAddrPort(string(buf[:n]))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("answer %q: %w", buf[:n], err)
	}
	return seen.Addr().Unmap(), nil
}

func reach(tb testing.TB, from, address string) netip.Addr {
	tb.Helper()
	var seen netip.Addr
	for _, network := range []string{"tcp", "udp"} {
		var err error
		if seen, err = ask(tb, from, network, address); err != nil {
			tb.Errorf("%s to %s from %q: %v", network, address, from, err)
		}
	}
	return seen
}

func at80(a netip.Prefix) string { return netip.AddrPortFrom(a.Addr(), 80).String() }
