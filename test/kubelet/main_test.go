// Package kubelet_test runs a real kubelet, alone and without a cluster, on a
// real agent, and looks at what becomes of its static pods: "make test-kubelet".
package kubelet_test

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/siflet/siflet/test/apart"
)

const isolated = "SIFLET_KUBELET_TEST"

// address is the machine's, as far as the kubelet knows.
const address = "192.0.2.10"

var (
	// programs is the directory of siflet's programs, kubelet the file of the kubelet's.
	programs, kubelet string
	// quiet is the node of all tests that don't harm it.
	quiet *node
)

// TestMain runs the tests once more in mount, network and IPC namespaces of
// their own, with an empty /run and /var/log: a kubelet writes there.
func TestMain(m *testing.M) {
	if port := os.Getenv(healthPort); port != "" {
		os.Exit(serveHealth(port))
	}
	flag.Parse()
	programs, kubelet = os.Getenv("SIFLET_BIN"), os.Getenv("SIFLET_KUBELET")
	if programs == "" || kubelet == "" {
		fmt.Fprintln(os.Stderr, "skipped: needs programs in SIFLET_BIN and SIFLET_KUBELET: see make test-kubelet")
		os.Exit(0)
	}
	apart.Tests{Var: isolated, Run: inside}.Main(m)
}

func inside(m *testing.M) (status int, err error) {
	if err := errors.Join(mounts(), network()); err != nil {
		return 1, err
	}
	if quiet, err = begin(settings{}); err != nil {
		return 1, err
	}
	status = m.Run()
	err = quiet.end()
	if err != nil || status != 0 {
		quiet.tell(os.Stderr)
	}
	return status, errors.Join(err, quiet.checkNothingLeft())
}

// mounts lets what the kubelet mounts for pods come to the agent, as on a
// machine: both have these mounts, and share them.
func mounts() error {
	const mode = 0o755
	if err := errors.Join(apart.Cover("/run", mode), apart.Cover("/var/log", mode)); err != nil {
		return err
	}
	return syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, "")
}

// network makes a network with nobody in it but this machine.
func network() error {
	card := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "node0"}}
	err := errors.Join(
		apart.Loopback(), netlink.LinkAdd(card),
		netlink.AddrAdd(card, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(24, 32)}}),
		netlink.LinkSetUp(card),
	)
	if err != nil {
		return fmt.Errorf("network of the test: %w", err)
	}
	_, all, err := net.ParseCIDR("0.0.0.0/0")
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: card.Index, Dst: all, Gw: net.IPv4(192, 0, 2, 1)})
}
