package network

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestPastaIsToldOfPortsAndOfNothingElse(t *testing.T) {
	ports := []Port{
		{Host: 8080, Container: 80, Protocol: "tcp"},
		{Host: 5353, Container: 53, Protocol: "udp", HostIP: netip.MustParseAddr("127.0.0.1")},
		{Host: 8443, Container: 443, HostIP: netip.MustParseAddr("::1")},
		{Container: 9},
	}
	got := strings.Join(pastaArgs("/bin/pasta", "/proc/7", ports), " ")
	for _, want := range []string{
		"/bin/pasta ", " --no-map-gw ", " --userns /proc/7/ns/user --netns /proc/7/ns/net ", " -T none -U none ",
		" -t 8080:80 -t ::1/8443:443 -u 127.0.0.1/5353:53",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if got := pastaArgs("/bin/pasta", "/proc/7", nil); !slices.Equal(got[len(got)-4:], []string{"-t", "none", "-u", "none"}) {
		t.Errorf("without ports: %q, want none of them", got)
	}
}

func TestHelpersWithoutAnyNameThePackages(t *testing.T) {
	_, err := UserMode{}.Helpers("/proc/7", "/run/api", nil)
	if err == nil || !strings.Contains(err.Error(), "passt") || !strings.Contains(err.Error(), "--network none") {
		t.Errorf("error = %v, want one that names packages and what works without", err)
	}
}

func TestUserPortsThatCanNotBe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := uint16(taken.Addr().(*net.TCPAddr).Port) //nolint:gosec // 16 bits
	for _, one := range []struct {
		ports []Port
		kind  error
		want  string
	}{
		{[]Port{{Host: busy, Container: 80}}, ErrPortTaken, "127.0.0.1"},
		{[]Port{{Host: 65001, Container: 80, Protocol: "sctp"}}, ErrPort, "tcp and udp"},
		{[]Port{{Host: 1, Container: 80}}, ErrPort, "ip_unprivileged_port_start=1"},
		{[]Port{{Host: 65001, Container: 80}, {Host: 65001, Container: 81}}, ErrPortTaken, "twice"},
		{[]Port{{Host: 65001, Container: 80, HostIP: netip.MustParseAddr("203.0.113.77")}}, ErrPort, "no such address"},
	} {
		_, err := UserMode{Pasta: "/bin/pasta"}.Helpers("/proc/7", "/run/api", one.ports)
		if one.want == "127.0.0.1" && errors.Is(err, ErrPortTaken) {
			continue // whichever address it is said of
		}
		if !errors.Is(err, one.kind) || !strings.Contains(err.Error(), one.want) {
			t.Errorf("Helpers(%v) = %v, want %v with %q", one.ports, err, one.kind, one.want)
		}
	}
}

func TestOnlyPastaPublishesIPv6(t *testing.T) {
	if err := checkDevice(); err != nil {
		t.Skip(err)
	}
	ports := []Port{{Host: 65002, Container: 80, HostIP: netip.MustParseAddr("::1")}}
	both, err := UserMode{Pasta: "/bin/pasta", Slirp: "/bin/slirp4netns"}.Helpers("/proc/7", "/run/api", ports)
	if err != nil || len(both) != 1 || both[0].Name != "pasta" {
		t.Errorf("Helpers() = %v, %v, want pasta alone", both, err)
	}
	if _, err := (UserMode{Slirp: "/bin/slirp4netns"}).Helpers("/proc/7", "/run/api", ports); !errors.Is(err, ErrPort) {
		t.Errorf("error without pasta = %v, want %v", err, ErrPort)
	}
}

func TestUserResolvConfReplacesResolversOnLoopback(t *testing.T) {
	for _, one := range []struct {
		name, host, want string
		changed          bool
	}{
		{"stub", "nameserver 127.0.0.53\noptions edns0\nsearch lan\n", "nameserver 10.0.2.3\noptions edns0\nsearch lan\n", true},
		{"several", "nameserver ::1\nnameserver 127.0.0.1\nnameserver 192.0.2.53\n", "nameserver 10.0.2.3\nnameserver 192.0.2.53\n", true},
		{"none of them", "# by hand\nnameserver 192.0.2.53\n", "# by hand\nnameserver 192.0.2.53\n", false},
		{"empty", "", "", false},
	} {
		if got, changed := UserResolvConf(one.host); got != one.want || changed != one.changed {
			t.Errorf("%s: %q, %v, want %q, %v", one.name, got, changed, one.want, one.changed)
		}
	}
}
