package cli_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostAddress is where the machine of a user's script has its default route.
const hostAddress = "192.0.2.1"

// The interface of that, and what it is connected to, which is nobody's.
const uplink, uplinkPeer = "uplink", "nobody"

// prepareNetwork makes what users' networks take: a way out of the machine, of which
// nothing comes back, and the device with which programs make interfaces.
func prepareNetwork() error {
	const device = "/dev/net/tun"
	if _, err := os.Stat(device); err != nil {
		return nil //nolint:nilerr // scripts look for it
	}
	tun := filepath.Join(stage, "tun")
	if err := errors.Join(unix.Mknod(tun, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))), os.Chmod(tun, 0o666), bind(tun, device)); err != nil {
		return err
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: uplink}, PeerName: uplinkPeer}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add an interface: %w", err)
	}
	peer, err := netlink.LinkByName(link.PeerName)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(hostAddress + "/24")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrAdd(link, address), netlink.LinkSetUp(peer), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(192, 0, 2, 254)}) //nolint:mnd // anywhere there
}

// canNetwork says that programs are there that give users networks.
func canNetwork() bool {
	_, err := os.Stat("/dev/net/tun")
	for _, program := range []string{"pasta", "slirp4netns"} {
		_, missing := exec.LookPath(program)
		err = errors.Join(err, missing)
	}
	return err == nil
}
