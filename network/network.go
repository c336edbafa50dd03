// Package network gives an instance its network: by the CNI plugins the machine
// is configured for, or, when it is configured for none, by a built-in bridge
// that needs no program beside the kernel. It refuses to know what an instance
// is: it is told of network namespaces and of files that prove their holders
// exist.
//
// It alone writes the directories PinDir, LeaseDir and StateDir of Config, the
// links whose names begin with "sif-" and "sfq-", the bridge, and the nftables tables named
// after the bridge. Beside them it turns on IP forwarding, and where a table of
// iptables drops what it does not know, it inserts two rules that let the bridge
// through.
package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// ErrPlugin means that a CNI plugin did not do what it was asked to, and has said why.
var ErrPlugin = errors.New("CNI plugin")

// pluginError is ErrPlugin in the plugin's own words.
type pluginError struct{ err error }

func (e pluginError) Error() string   { return e.err.Error() }
func (e pluginError) Unwrap() []error { return []error{e.err, ErrPlugin} }

// ErrPortTaken is returned, wrapped with the port and its holder, when a host
// port that was asked for is mapped already or another process listens on it.
var ErrPortTaken = errors.New("host port is taken")

// ErrPort is returned, wrapped with the port, when a host port can't lead to a
// holder with such addresses.
var ErrPort = errors.New("host port")

// BuiltIn is the Network of a Result that the built-in bridge made.
const BuiltIn = "builtin"

// Mode says who makes networks.
type Mode string

// The modes. Where CNI is set up by a pod, after this program has started, Auto
// would give the first pods another network than the later ones.
const (
	Auto       Mode = ""       // CNI if it is configured, else the built-in bridge
	CNIOnly    Mode = "cni"    // CNI; there is no network until it is configured
	BridgeOnly Mode = "bridge" // the built-in bridge, whatever is configured
)

// Config says where things are. Zero fields take the defaults shown.
type Config struct {
	Mode       Mode     // Auto
	CNIConfDir string   // /etc/cni/net.d
	CNIBinDirs []string // /opt/cni/bin, /usr/lib/cni
	// CNITimeout bounds what the plugins of a network may take to attach a namespace to
	// it, or to detach it: 90 s. One that is slow is warned of.
	CNITimeout time.Duration
	StateDir   string         // what CNI must remember: /var/lib/siflet/network
	PinDir     string         // where namespaces are pinned: /run/netns
	LeaseDir   string         // addresses and ports in use, shared by all of root's programs: /run/siflet-net
	Bridge     string         // siflet0
	Subnets    []netip.Prefix // at most one IPv4 and one IPv6: 10.213.0.0/16, fd51:f1e7:a213::/64
	Log        *slog.Logger   // discards
}

// Network attaches network namespaces to the network. Its methods may be called
// from several goroutines, and several processes may share its directories.
type Network struct {
	cfg    Config
	cni    *cni
	bridge *bridge
}

// New checks cfg. It changes nothing on the machine: the bridge is made when it
// is first needed. Close the Network when done.
func New(cfg Config) (*Network, error) {
	cfg = withDefaults(cfg)
	if len(cfg.Bridge) > 15 || cfg.Bridge != filepath.Base(cfg.Bridge) || cfg.Bridge == "." || cfg.Bridge == ".." {
		return nil, fmt.Errorf("network: bridge name %q: want 1 to 15 bytes without a slash", cfg.Bridge)
	}
	if cfg.Mode != Auto && cfg.Mode != CNIOnly && cfg.Mode != BridgeOnly {
		return nil, fmt.Errorf("network: mode %q: want cni, bridge, or nothing", cfg.Mode)
	}
	pool, err := newPool(cfg.Subnets)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	leases, err := newLeases(cfg.LeaseDir)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	return &Network{cfg: cfg, cni: newCNI(cfg), bridge: newBridge(cfg, pool, leases)}, nil
}

func withDefaults(cfg Config) Config {
	def := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	def(&cfg.CNIConfDir, "/etc/cni/net.d")
	def(&cfg.StateDir, "/var/lib/siflet/network")
	def(&cfg.PinDir, "/run/netns")
	def(&cfg.LeaseDir, "/run/siflet-net")
	def(&cfg.Bridge, "siflet0")
	if cfg.CNITimeout <= 0 {
		cfg.CNITimeout = 90 * time.Second
	}
	if cfg.CNIBinDirs == nil {
		cfg.CNIBinDirs = []string{"/opt/cni/bin", "/usr/lib/cni"}
	}
	if cfg.Subnets == nil {
		cfg.Subnets = []netip.Prefix{
			netip.MustParsePrefix("10.213.0.0/16"),
			netip.MustParsePrefix("fd51:f1e7:a213::/64"),
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Close gives back what the Network holds open. What it attached stays attached.
func (n *Network) Close() { n.bridge.close() }

// PinPath is where the namespace of the holder called id is to be pinned.
func (n *Network) PinPath(id string) string { return filepath.Join(n.cfg.PinDir, id) }

// Attach gives the namespace in req its interfaces, addresses, routes and host
// ports. On an error nothing of it is left.
func (n *Network) Attach(ctx context.Context, req Request) (Result, error) {
	if err := req.validate(); err != nil {
		return Result{}, fmt.Errorf("attach network: %w", err)
	}
	if !req.BuiltIn {
		conf, err := n.configured()
		switch {
		case err != nil:
			return Result{}, fmt.Errorf("attach network: %w", err)
		case conf != nil:
			res, err := n.cni.attach(ctx, conf, req)
			if err != nil {
				return Result{}, fmt.Errorf("attach network %s: %w", conf.Name, err)
			}
			return res, nil
		}
	}
	res, err := n.bridge.attach(ctx, req)
	if err != nil {
		return Result{}, fmt.Errorf("attach network: %w", err)
	}
	return res, nil
}

// Detach undoes Attach. It may be called again, after the namespace is gone, and
// with a zero Result when Attach never got to return one. The built-in bridge
// only takes the link down: deleting it makes the kernel wait 20 ms and is done
// by the kernel itself, later and for many at once, when the namespace goes.
func (n *Network) Detach(ctx context.Context, req Request, res Result) error {
	var errs error
	unknown := res.Network == ""
	if !unknown && res.Network != BuiltIn || unknown && !req.BuiltIn && n.cfg.Mode != BridgeOnly {
		errs = n.cni.detach(ctx, req, res)
	}
	if unknown || res.Network == BuiltIn {
		errs = errors.Join(errs, n.bridge.detach(ctx, req))
	}
	if errs != nil {
		return fmt.Errorf("detach network: %w", errs)
	}
	return nil
}

// Check reports whether what Attach made is still there.
func (n *Network) Check(ctx context.Context, req Request, res Result) error {
	var err error
	if res.Network == BuiltIn {
		err = n.bridge.check(ctx, req, res)
	} else {
		err = n.cni.check(ctx, req, res)
	}
	if err != nil {
		return fmt.Errorf("check network: %w", err)
	}
	return nil
}

// Collect frees what crashes left: everything of the built-in bridge whose
// Owner file is gone, whoever attached it, and every CNI attachment made with
// this StateDir that is not in valid.
func (n *Network) Collect(ctx context.Context, valid []Request) error {
	if err := errors.Join(n.bridge.collect(ctx), n.cni.collect(ctx, valid)); err != nil {
		return fmt.Errorf("collect networks: %w", err)
	}
	return nil
}

// Status returns nil when Attach can be expected to work. It names the CNI
// configuration file that keeps it from working, and repairs the built-in
// bridge's rules if something flushed them.
func (n *Network) Status(ctx context.Context) error {
	conf, err := n.configured()
	if err == nil && conf != nil {
		err = n.cni.status(ctx, conf)
	}
	if err == nil {
		err = n.bridge.repair(ctx)
	}
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// configured is the CNI network in force; nil is the built-in bridge.
func (n *Network) configured() (*libcni.NetworkConfigList, error) {
	if n.cfg.Mode == BridgeOnly {
		return nil, nil //nolint:nilnil // the bridge is no error
	}
	conf, err := n.cni.conf()
	if err == nil && conf == nil && n.cfg.Mode == CNIOnly {
		return nil, fmt.Errorf("there is no CNI configuration in %s yet", n.cfg.CNIConfDir)
	}
	return conf, err
}

// InForce is the network that Attach would use: BuiltIn, or the name of the CNI network. The
// error is what keeps CNI from working. It changes nothing.
func (n *Network) InForce() (string, error) {
	switch conf, err := n.configured(); {
	case err != nil:
		return "", err
	case conf != nil:
		return conf.Name, nil
	}
	return BuiltIn, nil
}

// Counters reports the traffic of what Attach made, as seen from inside.
func (n *Network) Counters(req Request, res Result) ([]InterfaceCounters, error) {
	return new(Traffic).Of(req, res, 0)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Request says what to attach, and for whom. The same Request is needed to
// detach.
type Request struct {
	ID           string            `json:"id"`    // of the holder; unique among those with this Owner
	Netns        string            `json:"netns"` // where the namespace is pinned
	Owner        string            `json:"owner"` // a file that exists as long as the holder does
	Name         string            `json:"name,omitempty"`
	Namespace    string            `json:"namespace,omitempty"` // Kubernetes' word: with Name and UID for CNI_ARGS
	UID          string            `json:"uid,omitempty"`
	Args         map[string]string `json:"args,omitempty"`        // further CNI_ARGS
	Annotations  map[string]string `json:"annotations,omitempty"` // for plugins with the capability io.kubernetes.cri.pod-annotations
	Ports        []Port            `json:"ports,omitempty"`
	IngressBps   int64             `json:"ingress_bps,omitempty"` // to the holder, in bits a second; 0 is no limit
	EgressBps    int64             `json:"egress_bps,omitempty"`  // from it, likewise
	DNS          DNS               `json:"dns,omitzero"`
	CgroupParent string            `json:"cgroup_parent,omitempty"` // for plugins with the capability cgroupPath
	BuiltIn      bool              `json:"builtin,omitempty"`       // the built-in bridge, even if CNI is configured
}

// Port maps a port of the host to one of the namespace. A Host of 0 maps none.
type Port struct {
	Host      uint16     `json:"host"`
	HostIP    netip.Addr `json:"host_ip,omitzero"` // unset: every local address of both families
	Container uint16     `json:"container"`
	Protocol  string     `json:"protocol"` // tcp, udp or sctp; empty is tcp
}

// DNS is what resolv.conf says.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// Result is what Attach made. It survives a round trip through JSON.
type Result struct {
	Network   string          `json:"network"` // BuiltIn, or the name of the CNI network
	Interface string          `json:"interface,omitempty"`
	Addresses []netip.Prefix  `json:"addresses,omitempty"`
	Gateways  []netip.Addr    `json:"gateways,omitempty"`
	DNS       DNS             `json:"dns,omitzero"`
	Ports     []Port          `json:"ports,omitempty"`
	CNI       json.RawMessage `json:"cni,omitempty"` // what CNI needs to detach
}

func (r *Request) validate() error {
	if r.ID == "" || r.Netns == "" || r.Owner == "" {
		return errors.New("an ID, a namespace and an owner are needed")
	}
	for _, p := range r.Ports {
		switch p.Protocol {
		case "", "tcp", "udp", "sctp":
		default:
			return fmt.Errorf("port %d: unknown protocol %q", p.Host, p.Protocol)
		}
		if p.Container == 0 && p.Host != 0 {
			return fmt.Errorf("port %d: maps to port 0", p.Host)
		}
	}
	if r.IngressBps < 0 || r.EgressBps < 0 {
		return errors.New("negative bandwidth")
	}
	return nil
}
