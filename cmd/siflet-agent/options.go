package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/cmd/internal/setup"
)

const defaultConfigFile = "/etc/siflet/agent.toml"

// agentOptions are the agent's settings: from flags, then from the
// configuration file, then the defaults. A setting has the name of its flag
// in the file too, with "_" for "-".
type agentOptions struct {
	Listen         string   `toml:"listen" json:"listen"`
	StateDir       string   `toml:"state_dir" json:"state_dir"`
	RunDir         string   `toml:"run_dir" json:"run_dir"`
	Network        string   `toml:"network" json:"network"`
	CNIConfDir     string   `toml:"cni_conf_dir" json:"cni_conf_dir"`
	CNIBinDirs     []string `toml:"cni_bin_dir" json:"cni_bin_dir"`
	CgroupParent   string   `toml:"cgroup_parent" json:"cgroup_parent"`
	Bridge         string   `toml:"bridge" json:"bridge"`
	Subnets        []string `toml:"subnet" json:"subnet"`
	StreamAddress  string   `toml:"stream_address" json:"stream_address"`
	LogLevel       string   `toml:"log_level" json:"log_level"`
	LogFormat      string   `toml:"log_format" json:"log_format"`
	RegistryHosts  []string `toml:"registry_hosts" json:"registry_hosts"`
	Policy         string   `toml:"policy" json:"policy"`
	AuthFile       string   `toml:"auth_file" json:"auth_file"`
	MetricsListen  string   `toml:"metrics_listen" json:"metrics_listen"`
	ParallelLayers int      `toml:"max_parallel_layers" json:"max_parallel_layers"`

	// policyNamed says that somebody named the policy, which must be there then.
	policyNamed bool
}

func defaultAgentOptions() agentOptions {
	from := setup.DefaultSources(version)
	return agentOptions{
		StateDir: "/var/lib/siflet", RunDir: "/run/siflet", Network: "auto", CNIConfDir: "/etc/cni/net.d",
		CNIBinDirs: []string{"/opt/cni/bin", "/usr/lib/cni"}, CgroupParent: "/siflet", Bridge: "siflet0",
		Subnets: []string{"10.213.0.0/16", "fd51:f1e7:a213::/64"}, StreamAddress: "127.0.0.1:0",
		LogLevel: "info", LogFormat: "text", RegistryHosts: from.Hosts, Policy: from.Policy,
	}
}

// words are the settings of one value, by the names of their flags.
func (o *agentOptions) words() map[string]*string {
	return map[string]*string{
		"listen": &o.Listen, "state-dir": &o.StateDir, "run-dir": &o.RunDir, "cni-conf-dir": &o.CNIConfDir,
		"cgroup-parent": &o.CgroupParent, "bridge": &o.Bridge, "stream-address": &o.StreamAddress,
		"log-level": &o.LogLevel, "log-format": &o.LogFormat, "policy": &o.Policy, "auth-file": &o.AuthFile,
		"metrics-listen": &o.MetricsListen, "network": &o.Network,
	}
}

// lists are the settings of several values.
func (o *agentOptions) lists() map[string]*[]string {
	return map[string]*[]string{"cni-bin-dir": &o.CNIBinDirs, "subnet": &o.Subnets, "registry-hosts": &o.RegistryHosts}
}

// numbers are the settings that are numbers.
func (o *agentOptions) numbers() map[string]*int {
	return map[string]*int{"max-parallel-layers": &o.ParallelLayers}
}

func (o *agentOptions) flags(f *pflag.FlagSet) {
	usage := map[string]string{
		"listen":         "serve CRI on this socket (default unix:// and RUN-DIR/siflet.sock)",
		"state-dir":      "keep what survives a reboot here",
		"run-dir":        "keep what does not survive a reboot here",
		"network":        "auto: CNI if it is configured, else the built-in bridge; cni: no pod before CNI is configured, as where a\npod sets it up; bridge: the built-in bridge, whatever is configured",
		"cni-conf-dir":   "read CNI configuration here",
		"cni-bin-dir":    "look for CNI plugins here",
		"cgroup-parent":  "put pods that name no parent below this cgroup",
		"bridge":         "name of the built-in bridge",
		"subnet":         "addresses of the built-in bridge: at most one IPv4 and one IPv6 range",
		"stream-address": "serve exec, attach and port-forward here; port 0 is any free one",
		"log-level":      "debug, info, warn or error",
		"log-format":     "text or json",
		"registry-hosts": "read settings of registries (mirrors, TLS) here, in containerd's hosts.toml layout;\nof several directories that know a registry the first counts",
		"policy":         "file that says whose signatures images need, at every pull and every start; one that is\nnamed but not there, or has a mistake in it, lets none run; without the default one every image runs",
		"auth-file":      "file with credentials for registries, as Docker's config.json; those of a pull go before it\n(default that of \"siflet registry login\", then Docker's)",
		"metrics-listen": "serve Prometheus metrics at /metrics on this address, such as 127.0.0.1:9213; there is no\naccess control (default off)",

		"max-parallel-layers": "convert that many layers of images at the same time; 0 chooses by the machine",
	}
	for name, value := range o.words() {
		f.StringVar(value, name, *value, usage[name])
	}
	for name, value := range o.lists() {
		f.StringSliceVar(value, name, *value, usage[name])
	}
	for name, value := range o.numbers() {
		f.IntVar(value, name, *value, usage[name])
	}
}

// load adds what the file says about settings that no flag set. Without a name
// the default file is read if it is there.
func (o *agentOptions) load(file string, f *pflag.FlagSet) error {
	name := file
	if name == "" {
		name = defaultConfigFile
	}
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && file == "":
		text = nil
	case err != nil:
		return fmt.Errorf("read configuration: %w", err)
	}
	set := defaultAgentOptions()
	if err := set.parse(name, string(text)); err != nil {
		return err
	}
	o.policyNamed = f.Changed("policy") || set.policyNamed
	for name, value := range o.words() {
		if !f.Changed(name) {
			*value = *set.words()[name]
		}
	}
	for name, value := range o.lists() {
		if !f.Changed(name) {
			*value = *set.lists()[name]
		}
	}
	for name, value := range o.numbers() {
		if !f.Changed(name) {
			*value = *set.numbers()[name]
		}
	}
	if o.Listen == "" {
		o.Listen = "unix://" + filepath.Join(o.RunDir, "siflet.sock")
	}
	return o.check()
}

func (o *agentOptions) parse(name, text string) error {
	meta, err := toml.Decode(text, o)
	if parse := (toml.ParseError{}); errors.As(err, &parse) {
		return fmt.Errorf("%s:%d: %s", name, parse.Position.Line, parse.Message)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	o.policyNamed = meta.IsDefined("policy")
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s:%d: unknown key %q", name, lineOf(text, unknown[0]), unknown[0])
	}
	return nil
}

// lineOf is where a key is set, or its table begins.
func lineOf(text string, key toml.Key) int {
	last := key[len(key)-1]
	for i, line := range strings.Split(text, "\n") {
		name, _, assigns := strings.Cut(line, "=")
		if name = strings.Trim(name, " \t\r\"'[]"); name == key.String() || assigns && name == last {
			return i + 1
		}
	}
	return 1
}

func (o *agentOptions) check() error {
	for flag, dir := range map[string]*string{"state-dir": &o.StateDir, "run-dir": &o.RunDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil || *dir == "" {
			return fmt.Errorf("--%s %q: not a directory's path", flag, *dir)
		}
		*dir = abs
	}
	if _, err := o.logger(io.Discard); err != nil {
		return err
	}
	if !slices.Contains([]string{"auto", "cni", "bridge"}, o.Network) {
		return fmt.Errorf("--network %q: want auto, cni or bridge", o.Network)
	}
	if o.Policy == "" {
		return errors.New("--policy \"\": want a file; without one, leave the setting out")
	}
	if o.ParallelLayers < 0 {
		return fmt.Errorf("--max-parallel-layers %d: want a number of layers, or 0", o.ParallelLayers)
	}
	if o.MetricsListen != "" {
		if _, _, err := net.SplitHostPort(o.MetricsListen); err != nil {
			return fmt.Errorf("--metrics-listen %q: want an address such as 127.0.0.1:9213", o.MetricsListen)
		}
	}
	_, err := o.subnets()
	return err
}

// sources are where the agent's images come from.
func (o *agentOptions) sources() setup.Sources {
	return setup.Sources{
		Hosts: o.RegistryHosts, Policy: o.Policy, PolicyNamed: o.policyNamed, Auth: o.AuthFile, Parallel: o.ParallelLayers, Version: version,
	}
}

func (o *agentOptions) subnets() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range o.Subnets {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--subnet %q: want a range such as 10.213.0.0/16", text)
		}
		out = append(out, prefix)
	}
	return out, nil
}

func (o *agentOptions) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, o.LogLevel) || level.UnmarshalText([]byte(o.LogLevel)) != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("--log-format %q: want text or json", o.LogFormat)
	}
}
