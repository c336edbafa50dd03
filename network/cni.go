package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// undoTime bounds the cleaning up after a plugin that did not get done in its
// time, if that is more.
const undoTime = 30 * time.Second

// statusTime bounds what a question whether plugins are well may take.
const statusTime = 5 * time.Second

// slowTime is how long plugins may take before somebody should know.
const slowTime = 10 * time.Second

// cni runs the plugins of the configured network.
type cni struct {
	lib  *libcni.CNIConfig
	exec *pluginExec
	dirs []string
	from *confDir
	most time.Duration
	log  *slog.Logger
}

func newCNI(cfg Config) *cni {
	c := &cni{exec: &pluginExec{}, dirs: cfg.CNIBinDirs, most: cfg.CNITimeout, log: cfg.Log}
	c.lib = libcni.NewCNIConfigWithCacheDir(c.dirs, filepath.Join(cfg.StateDir, "cni"), c.exec)
	c.from = &confDir{dir: cfg.CNIConfDir, check: c.installed}
	return c
}

func (c *cni) conf() (*libcni.NetworkConfigList, error) { return c.from.current() }

// installed checks that every plugin of a network is there.
func (c *cni) installed(list *libcni.NetworkConfigList) error {
	for _, p := range list.Plugins {
		if _, err := c.exec.FindInPath(p.Network.Type, c.dirs); err != nil {
			return err
		}
	}
	return nil
}

// status asks the plugins, if they speak a version in which one can.
func (c *cni) status(ctx context.Context, list *libcni.NetworkConfigList) error {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	if err := c.lib.GetStatusNetworkList(ctx, list); err != nil {
		return fmt.Errorf("CNI network %s: %w", list.Name, err)
	}
	return nil
}

// attachment is what Result.CNI holds: the network as it was when it was
// joined, for the configuration may have changed by the time it is left.
type attachment struct {
	Config json.RawMessage `json:"config"`
}

// bounded gives plugins their time, and warns when they take long.
func (c *cni) bounded(ctx context.Context, command, name string, req Request) (context.Context, context.CancelFunc) {
	start := time.Now()
	warning := time.AfterFunc(min(slowTime, c.most/2), func() {
		c.log.Warn("CNI plugins are slow", "command", command, "network", name, "namespace", req.Namespace, "name", req.Name,
			"id", req.ID, "for", time.Since(start).Round(time.Second), "limit", c.most)
	})
	ctx, cancel := context.WithTimeoutCause(ctx, c.most, fmt.Errorf("the plugins did not answer within %s", c.most))
	return ctx, func() {
		warning.Stop()
		cancel()
	}
}

func (c *cni) attach(ctx context.Context, list *libcni.NetworkConfigList, req Request) (Result, error) {
	if err := Loopback(req.Netns); err != nil {
		return Result{}, err
	}
	rt := runtimeConf(req)
	limited, cancel := c.bounded(ctx, "ADD", list.Name, req)
	res, err := c.add(limited, list, rt)
	cancel()
	if err != nil {
		// A plugin may have done half its work.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(undoTime, c.most))
		defer cancel()
		if undoErr := c.lib.DelNetworkList(undo, list, rt); undoErr != nil {
			err = errors.Join(err, fmt.Errorf("clean up: %w", undoErr))
		}
		return Result{}, err
	}
	res.Ports = req.Ports
	return res, nil
}

func (c *cni) add(ctx context.Context, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (Result, error) {
	raw, err := c.lib.AddNetworkList(ctx, list, rt)
	if err != nil {
		return Result{}, pluginError{err}
	}
	got, err := types100.NewResultFromResult(raw)
	if err != nil {
		return Result{}, err
	}
	held, err := json.Marshal(attachment{Config: list.Bytes})
	if err != nil {
		return Result{}, err
	}
	res := Result{
		Network:   list.Name,
		Interface: rt.IfName,
		CNI:       held,
		DNS:       DNS{Servers: got.DNS.Nameservers, Searches: got.DNS.Search, Options: got.DNS.Options},
	}
	for _, ip := range got.IPs {
		if !forHolder(got, ip, rt.IfName) {
			continue
		}
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		bits, _ := ip.Address.Mask.Size()
		if ok {
			if addr.Is4In6() && len(ip.Address.Mask) == 4 {
				addr = addr.Unmap()
			}
			res.Addresses = append(res.Addresses, netip.PrefixFrom(addr, bits))
		}
		if gateway, ok := netip.AddrFromSlice(ip.Gateway); ok {
			res.Gateways = append(res.Gateways, gateway.Unmap())
		}
	}
	if len(res.Addresses) == 0 {
		return Result{}, fmt.Errorf("the plugins gave %s no address", rt.IfName)
	}
	return res, nil
}

// forHolder tells an address of the holder's interface from those of others
// that plugins report, such as a bridge's.
func forHolder(got *types100.Result, ip *types100.IPConfig, ifname string) bool {
	if ip.Interface == nil {
		return true
	}
	i := *ip.Interface
	if i < 0 || i >= len(got.Interfaces) {
		return false
	}
	return got.Interfaces[i].Sandbox != "" && got.Interfaces[i].Name == ifname
}

// detach leaves whatever network was joined: the one res remembers, or, when
// attach did not get to report it, the one libcni does, or, when it was cut short
// before that, the one configured.
func (c *cni) detach(ctx context.Context, req Request, res Result) error {
	ctx, cancel := c.bounded(ctx, "DEL", res.Network, req)
	defer cancel()
	rt := runtimeConf(req)
	if !pinned(req.Netns) {
		rt.NetNS = "" // plugins then clean up what is outside
	}
	list, err := remembered(res)
	if err != nil {
		return err
	}
	if list != nil {
		return c.lib.DelNetworkList(ctx, list, rt)
	}
	cached, err := c.lib.GetCachedAttachments(req.ID)
	if err != nil || len(cached) == 0 {
		list, err := c.conf()
		if err != nil || list == nil {
			return nil // no plugin can have run
		}
		return c.lib.DelNetworkList(ctx, list, rt)
	}
	var errs error
	for _, one := range cached {
		list, err := parseConf(one.Config)
		if err == nil {
			rt.IfName = one.IfName
			err = c.lib.DelNetworkList(ctx, list, rt)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

func (c *cni) check(ctx context.Context, req Request, res Result) error {
	list, err := remembered(res)
	if err != nil || list == nil {
		return err
	}
	// Plugins before 0.4.0 can't be asked.
	if err := c.lib.CheckNetworkList(ctx, list, runtimeConf(req)); !errors.Is(err, libcni.ErrorCheckNotSupp) {
		return err
	}
	return nil
}

// collect makes the plugins forget everything that is not in valid.
func (c *cni) collect(ctx context.Context, valid []Request) error {
	cached, err := c.lib.GetCachedAttachments("")
	if err != nil {
		cached = nil // no cache
	}
	args := &libcni.GCArgs{}
	keep := map[string]bool{}
	for _, req := range valid {
		if !req.BuiltIn {
			keep[req.ID] = true
			args.ValidAttachments = append(args.ValidAttachments,
				types.GCAttachment{ContainerID: req.ID, IfName: inner})
		}
	}
	// Those of a network that is no longer the configured one are left by the
	// configuration they were made with.
	var errs error
	for _, one := range cached {
		if keep[one.ContainerID] {
			continue
		}
		list, err := parseConf(one.Config)
		if err == nil {
			rt := &libcni.RuntimeConf{
				ContainerID: one.ContainerID, IfName: one.IfName,
				Args: one.CniArgs, CapabilityArgs: one.CapabilityArgs,
			}
			if pinned(one.NetNS) {
				rt.NetNS = one.NetNS
			}
			err = c.lib.DelNetworkList(ctx, list, rt)
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("leave network %s for %s: %w", one.Network, one.ContainerID, err))
		}
	}
	list, err := c.conf()
	if err != nil || list == nil {
		return errs // Status says what is wrong with it
	}
	return errors.Join(errs, c.lib.GCNetworkList(ctx, list, args))
}

func remembered(res Result) (*libcni.NetworkConfigList, error) {
	if len(res.CNI) == 0 {
		return nil, nil //nolint:nilnil // nothing to remember is no error
	}
	var held attachment
	if err := json.Unmarshal(res.CNI, &held); err != nil {
		return nil, fmt.Errorf("read CNI attachment: %w", err)
	}
	return parseConf(held.Config)
}

// parseConf reads a list as libcni and Result keep it.
func parseConf(data []byte) (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read CNI attachment: %w", err)
	}
	return list, nil
}
