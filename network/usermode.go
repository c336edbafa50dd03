package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UserMode is how the network namespaces of somebody who is not root reach others: a
// program of the machine speaks for them with sockets of its own. The fields are paths,
// empty for what is not installed.
type UserMode struct {
	Pasta, Slirp string
}

// What both programs are told to give a namespace. The resolver asks those of the host, also
// when they are on its loopback.
const (
	userAddress  = "10.0.2.100"
	userGateway  = "10.0.2.2"
	userBits     = "24"
	userAddress6 = "fd51:f1e7:a214::100"
	userGateway6 = "fd51:f1e7:a214::2"
	userLink     = "eth0"

	UserResolver = "10.0.2.3"
)

// Helper is a program to be started for a namespace, as long as which it lives.
type Helper struct {
	Name string
	Args []string // with its path
	// ReadyFD is where it says that the network is there: standard output, or 3.
	ReadyFD int
	// API is the socket that takes ports to be published, if it is not told them by Args.
	API    string
	Result Result
}

// Helpers are the programs that can give the namespaces of the process whose directory
// in /proc is given a network with such ports, the best first. api is a path for a socket.
func (u UserMode) Helpers(proc, api string, ports []Port) ([]Helper, error) {
	if u == (UserMode{}) {
		return nil, errors.New("without root it takes pasta (package passt) or slirp4netns (package of that name), and neither is installed; " +
			"--network none gives loopback alone, and without --net the network is the host's")
	}
	if err := checkUserPorts(ports); err != nil {
		return nil, err
	}
	if err := checkDevice(); err != nil {
		return nil, err
	}
	result := Result{
		Interface: userLink, Ports: ports, DNS: DNS{Servers: []string{UserResolver}},
		Addresses: []netip.Prefix{netip.MustParsePrefix(userAddress + "/" + userBits)}, Gateways: []netip.Addr{netip.MustParseAddr(userGateway)},
	}
	var all []Helper
	if u.Pasta != "" {
		h := Helper{Name: "pasta", Args: pastaArgs(u.Pasta, proc, ports), ReadyFD: 1, Result: result}
		h.Result.Network = h.Name
		all = append(all, h)
	}
	six := func() bool {
		for _, p := range ports {
			if p.HostIP.Is6() && !p.HostIP.Is4In6() {
				return true
			}
		}
		return false
	}
	if u.Slirp != "" {
		h := Helper{Name: "slirp4netns", Args: slirpArgs(u.Slirp, proc, api), ReadyFD: 3, API: api, Result: result}
		h.Result.Network = h.Name
		switch {
		case !six():
			all = append(all, h)
		case len(all) == 0:
			return nil, fmt.Errorf("%w: slirp4netns publishes no IPv6 addresses; install pasta (package passt)", ErrPort)
		}
	}
	return all, nil
}

// checkDevice makes sure that an interface can be made in a namespace.
func checkDevice() error {
	const device = "/dev/net/tun"
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w; an administrator can mend that: modprobe tun; chmod 666 %s", err, device)
	}
	return file.Close()
}

// pastaArgs keep to options that the oldest packaged version has. What it would do by
// default, to give a namespace the ports that are bound on the other side and the host's
// loopback, is turned off.
func pastaArgs(path, proc string, ports []Port) []string {
	args := []string{
		path, "--foreground", "--quiet", "--pid", "/proc/self/fd/1", "--config-net", "--no-netns-quit", "--no-map-gw",
		"--userns", proc + "/ns/user", "--netns", proc + "/ns/net", "--ns-ifname", userLink,
		"-a", userAddress, "-n", userBits, "-g", userGateway, "-a", userAddress6, "-g", userGateway6, "--dns-forward", UserResolver,
		"-T", "none", "-U", "none",
	}
	for _, one := range []struct{ flag, protocol string }{{"-t", "tcp"}, {"-u", "udp"}} {
		none := true
		for _, p := range ports {
			if p.Host == 0 || p.protocol() != one.protocol {
				continue
			}
			none = false
			spec := strconv.Itoa(int(p.Host)) + ":" + strconv.Itoa(int(p.Container))
			if p.HostIP.IsValid() {
				spec = p.HostIP.Unmap().String() + "/" + spec
			}
			args = append(args, one.flag, spec)
		}
		if none {
			args = append(args, one.flag, "none")
		}
	}
	return args
}

func slirpArgs(path, proc, api string) []string {
	return []string{
		path, "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--api-socket=" + api,
		"--netns-type=path", "--userns-path=" + proc + "/ns/user", proc + "/ns/net", userLink,
	}
}

// checkUserPorts makes sure that ports can be published by somebody who is not root.
func checkUserPorts(ports []Port) error {
	first := 0
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		first, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	for _, p := range ports {
		if p.protocol() == "sctp" {
			return fmt.Errorf("%w %d/sctp: without root tcp and udp can be published alone", ErrPort, p.Host)
		}
		if int(p.Host) < first && p.Host != 0 {
			return fmt.Errorf("%w %d/%s: without root ports from %d on can be published; choose such a one, or ask an administrator for "+
				"sysctl net.ipv4.ip_unprivileged_port_start=%d", ErrPort, p.Host, p.protocol(), first, p.Host)
		}
	}
	if err := checkLocal(ports); err != nil {
		return err
	}
	// Of each family, as if it had an address.
	all, err := userMappings(ports)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := probe(m); err != nil {
			return err
		}
	}
	return nil
}

// checkLocal makes sure that the machine has the addresses that are named.
func checkLocal(ports []Port) error {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, p := range ports {
		ip := p.HostIP.Unmap().WithZone("")
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsLoopback() {
			continue
		}
		has := func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr() == ip
		}
		if !slices.ContainsFunc(own, has) {
			return fmt.Errorf("%w %s: this machine has no such address", ErrPort, netip.AddrPortFrom(ip, p.Host))
		}
	}
	return nil
}

func userMappings(ports []Port) ([]mapping, error) {
	var all []mapping
	for _, p := range ports {
		if p.Host == 0 {
			continue
		}
		for _, m := range p.mappings([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}) {
			for _, other := range all {
				if m.clashesWith(other.name()) {
					return nil, fmt.Errorf("%w: %s is asked for twice", ErrPortTaken, m)
				}
			}
			all = append(all, m)
		}
	}
	return all, nil
}

func (p Port) protocol() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// Publish has a program that is ready publish the ports that it was not told of when it
// was started.
func (h Helper) Publish(ctx context.Context) error {
	if h.API == "" {
		return nil
	}
	defer os.Remove(h.API) //nolint:errcheck // nobody else is to ask it for anything
	for _, p := range h.Result.Ports {
		if p.Host == 0 {
			continue
		}
		address := netip.IPv4Unspecified()
		if p.HostIP.IsValid() {
			address = p.HostIP.Unmap()
		}
		request := fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":%q,"host_addr":%q,"host_port":%d,"guest_port":%d}}`,
			p.protocol(), address, p.Host, p.Container)
		if err := askSlirp(ctx, h.API, request); err != nil {
			return fmt.Errorf("%w %s/%s: %w", ErrPort, netip.AddrPortFrom(address, p.Host), p.protocol(), err)
		}
	}
	return nil
}

func askSlirp(ctx context.Context, api, request string) error {
	const patience, longest = 10 * time.Second, 4 << 10
	conn, err := new(net.Dialer).DialContext(ctx, "unix", api)
	if err != nil {
		return fmt.Errorf("ask slirp4netns at %s: %w", filepath.Base(api), err)
	}
	defer conn.Close() //nolint:errcheck // all was said
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	if half, ok := conn.(*net.UnixConn); ok {
		_ = half.CloseWrite()
	}
	answer, err := io.ReadAll(io.LimitReader(conn, longest))
	if err == nil && !strings.Contains(string(answer), `"return"`) {
		err = fmt.Errorf("slirp4netns says %s", strings.TrimSpace(string(answer)))
	}
	return err
}

// UserResolvConf is a resolv.conf for a namespace with a network in user mode: the host's,
// but with UserResolver for resolvers on the host's loopback. It says whether they differ.
func UserResolvConf(host string) (text string, changed bool) {
	var b strings.Builder
	for line := range strings.Lines(host) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			b.WriteString(line)
			continue
		}
		address, err := netip.ParseAddr(fields[1])
		switch {
		case err != nil || !address.Unmap().IsLoopback() && !address.IsUnspecified():
			b.WriteString(line)
		case !changed:
			b.WriteString("nameserver " + UserResolver + "\n")
			changed = true
		}
	}
	return b.String(), changed
}
