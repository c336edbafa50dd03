package config

import (
	"fmt"
	"strings"
	"time"
)

// NRI is how plugins of the Node Resource Interface take part.
type NRI struct {
	On                                       bool
	SocketPath, PluginPath, PluginConfigPath string
	RegistrationTimeout, RequestTimeout      time.Duration
	NoConnections                            bool
	// Reject, RequiredPlugins and TolerateMissing are the built-in validator's.
	Reject, RequiredPlugins []string
	TolerateMissing         string
}

func defaultNRI() NRI {
	return NRI{
		On: true, Reject: []string{}, RequiredPlugins: []string{}, PluginPath: "/opt/nri/plugins", PluginConfigPath: "/etc/nri/conf.d",
		RegistrationTimeout: 5 * time.Second, RequestTimeout: 2 * time.Second,
	}
}

func nriSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "nri", section: "Plugins of the Node Resource Interface", value: func(c *Config) any { return &c.NRI.On },
			doc: "let NRI plugins take part; without any they cost nothing",
		},
		{
			name: "nri_socket", kind: kind{name: "path", check: absolute("/run/siflet/nri.sock"), look: lookSocket}, value: func(c *Config) any { return &c.NRI.SocketPath },
			doc:   "let NRI plugins connect to this socket",
			unset: "/var/run/nri/nri.sock; with another run_dir nri.sock there", example: `"/var/run/nri/nri.sock"`,
		},
		{
			name: "nri_plugin_path", kind: directory(lookDirectory), value: func(c *Config) any { return &c.NRI.PluginPath },
			doc: "start the programs here, whose names are two digits, \"-\" and a name, as NRI plugins with the agent; only root\n" +
				"may be able to change them",
		},
		{
			name: "nri_plugin_config_path", kind: directory(lookDirectory), value: func(c *Config) any { return &c.NRI.PluginConfigPath },
			doc: "give those plugins the files INDEX-NAME.conf or NAME.conf here as their configuration",
		},
		{
			name: "nri_registration_timeout", least: 1, most: hour, value: func(c *Config) any { return &c.NRI.RegistrationTimeout },
			doc: "give an NRI plugin so long to register",
		},
		{
			name: "nri_request_timeout", least: 1, most: hour, value: func(c *Config) any { return &c.NRI.RequestTimeout },
			doc: "give an NRI plugin so long for an answer; then it is disconnected",
		},
		{
			name: "nri_disable_connections", value: func(c *Config) any { return &c.NRI.NoConnections },
			doc: "leave it at the NRI plugins that start with the agent",
		},
		{
			name: "nri_reject", value: func(c *Config) any { return &c.NRI.Reject },
			kind: oneOf("default-seccomp", "unconfined-seccomp", "custom-seccomp", "sysctls", "hooks", "namespaces"),
			doc:  "refuse containers of which an NRI plugin changes one of these: the seccomp policy of those that have the default\none, none, or one of the node's; sysctls; OCI hooks; namespaces",
		},
		{
			name: "nri_required_plugins", kind: word("name of a plugin", "logger"), value: func(c *Config) any { return &c.NRI.RequiredPlugins },
			doc: "refuse containers while one of these NRI plugins is not connected",
		},
		{
			name: "nri_tolerate_missing_annotation", kind: optional(word("name of an annotation", "tolerate-missing-plugins.example.com")), value: func(c *Config) any { return &c.NRI.TolerateMissing },
			doc: "let containers of pods with this annotation do without required NRI plugins", unset: "none", example: `"tolerate-missing-plugins.example.com"`,
		},
	}
}

// checkNRI sees that the plugins that are required can be there.
func (c *Config) checkNRI(at places) Problems {
	if c.NRI.On || len(c.NRI.RequiredPlugins) == 0 {
		return nil
	}
	return Problems{{at.of("nri_required_plugins"), fmt.Sprintf("nri_required_plugins: %s can't connect with nri = false; leave out one of the two keys",
		strings.Join(c.NRI.RequiredPlugins, ", "))}}
}
