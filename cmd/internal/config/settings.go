package config

import "time"

// What durations are bounded by, in seconds.
const (
	hour = 60 * 60
	year = 365 * 24 * hour
)

// Defaults is what holds where nobody says otherwise.
func Defaults() *Config {
	return &Config{
		StateDir: "/var/lib/siflet", RunDir: "/run/siflet",
		LogLevel: "info", LogFormat: "text",
		RegistryHosts: []string{"/etc/siflet/certs.d", "/etc/containerd/certs.d"}, MountExt3: true,
		Network: "auto", CNIConfDir: "/etc/cni/net.d", CNIBinDirs: []string{"/opt/cni/bin", "/usr/lib/cni"}, CNITimeout: 90 * time.Second,
		Bridge: "siflet0", Subnets: []string{"10.213.0.0/16", "fd51:f1e7:a213::/64"}, StreamAddress: "127.0.0.1:0",
		UnprivilegedPorts: true, UnprivilegedICMP: true,
		StreamIdleTimeout: 4 * time.Hour, ExecDrainTimeout: time.Second,
		CDIDirs: []string{"/etc/cdi", "/var/run/cdi"}, CgroupDriver: "auto", SELinuxCategories: 1024,
		NRI: defaultNRI(),
	}
}

// settings are the keys of the file that stand alone, in its order.
func settings() (all []setting[Config]) {
	for _, some := range [][]setting[Config]{
		placeSettings(), logSettings(), imageSettings(), networkSettings(), deviceSettings(), cgroupSettings(), securitySettings(), checkpointSettings(), nriSettings(),
	} {
		all = append(all, some...)
	}
	return all
}

func placeSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "state_dir", section: "Places", kind: place(), value: func(c *Config) any { return &c.StateDir },
			doc: "keep what survives a reboot here",
		},
		{
			name: "run_dir", kind: place(), value: func(c *Config) any { return &c.RunDir },
			doc: "keep what does not survive a reboot here",
		},
		{
			name: "listen", kind: socket(), value: func(c *Config) any { return &c.Listen },
			doc: "serve CRI on this socket", unset: "unix:// and RUN-DIR/siflet.sock", example: `"unix:///run/siflet/siflet.sock"`,
		},
	}
}

func logSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "log_level", section: "Logs and metrics", kind: oneOf("debug", "info", "warn", "error"), reload: true,
			value: func(c *Config) any { return &c.LogLevel },
			doc:   "log what is at least that important",
		},
		{
			name: "log_format", kind: oneOf("text", "json"), reload: true, value: func(c *Config) any { return &c.LogFormat },
			doc: "write the log in this format",
		},
		{
			name: "metrics_listen", kind: optional(address("127.0.0.1:9213")), reload: true, value: func(c *Config) any { return &c.MetricsListen },
			doc:   "serve Prometheus metrics at /metrics on this address, such as 127.0.0.1:9213; there is no access control",
			unset: "off", example: `"127.0.0.1:9213"`,
		},
		{
			name: "trace_endpoint", kind: optional(webAddress("http://127.0.0.1:4318")), value: func(c *Config) any { return &c.TraceEndpoint },
			doc:   "send traces of pods' starts to this collector of OpenTelemetry (OTLP over HTTP), such as http://127.0.0.1:4318",
			unset: "off", example: `"http://127.0.0.1:4318"`,
		},
	}
}

func imageSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "registry_hosts", section: "Images", kind: directory(lookDirectory), reload: true,
			value: func(c *Config) any { return &c.RegistryHosts },
			doc: "read settings of registries (mirrors, TLS) here, in containerd's hosts.toml layout;\n" +
				"of several directories that know a registry the first counts",
			more: "The files below are read again at each pull",
		},
		{
			name: "auth_file", kind: file("/etc/siflet/auth.json", lookCredentials), reload: true, value: func(c *Config) any { return &c.AuthFile },
			doc:   "file with credentials for registries, as Docker's config.json; those of a pull go before it",
			unset: "that of \"siflet registry login\", then Docker's", example: `"/etc/siflet/auth.json"`,
		},
		{
			name: "policy", kind: file("/etc/siflet/policy.toml", lookPolicy), reload: true, value: func(c *Config) any { return &c.Policy },
			doc: "file that says whose signatures images need, at every pull and every start; one that is\n" +
				"named but not there, or has a mistake in it, lets none run",
			unset: "/etc/siflet/policy.toml; without that file every image runs", example: `"/etc/siflet/policy.toml"`,
		},
		{
			name: "image_dirs", kind: directory(lookDirectory), reload: true, value: func(c *Config) any { return &c.ImageDirs },
			doc: "let pods name no file as an image (a SIF file, an archive, a layout, a checkpoint) but below these directories;\n" +
				"a file counts where it is, not where a symbolic link to it is",
			more:  "An empty list is no bound: any file can be named then",
			unset: "any file that root can read", example: `["/shared/images"]`,
		},
		{
			name: "mount_ext3", value: func(c *Config) any { return &c.MountExt3 },
			doc: "mount ext3 file systems in images of pods. The kernel trusts those it mounts: who makes one that is corrupt may\n" +
				"crash the node, or take it over; squashfs, which is read only, offers less",
		},
		{
			name: "max_parallel_layers", unit: "layers", most: 1000, value: func(c *Config) any { return &c.ParallelLayers },
			doc: "convert that many layers of images at the same time; 0 chooses by the machine",
		},
	}
}

func networkSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "network", section: "Network", kind: oneOf("auto", "cni", "bridge"), value: func(c *Config) any { return &c.Network },
			doc: "give pods their network by: auto, CNI if it is configured, else the built-in bridge; cni, no pod before CNI is\n" +
				"configured, as where a pod sets it up; bridge, the built-in bridge, whatever is configured",
		},
		{
			name: "cni_conf_dir", kind: directory(lookDirectory), value: func(c *Config) any { return &c.CNIConfDir },
			doc: "read CNI configuration here",
		},
		{
			name: "cni_bin_dir", kind: directory(lookDirectory), some: true, value: func(c *Config) any { return &c.CNIBinDirs },
			doc: "look for CNI plugins here",
		},
		{
			name: "cni_timeout", least: 1, most: hour, value: func(c *Config) any { return &c.CNITimeout },
			doc: "give CNI plugins so long to attach a pod to its network or to detach it; after 10 s the log says who is slow",
		},
		{
			name: "bridge", kind: linkName(), value: func(c *Config) any { return &c.Bridge },
			doc: "name of the built-in bridge",
		},
		{
			name: "subnet", kind: prefix(), some: true, value: func(c *Config) any { return &c.Subnets },
			doc: "addresses of the built-in bridge: at most one IPv4 and one IPv6 range",
		},
		{
			name: "enable_unprivileged_ports", value: func(c *Config) any { return &c.UnprivilegedPorts },
			doc: "let every user of a pod with a network of its own listen on ports below 1024, unless the pod's sysctls say otherwise",
		},
		{
			name: "enable_unprivileged_icmp", value: func(c *Config) any { return &c.UnprivilegedICMP },
			doc: "let every user of a pod with a network of its own ping, unless the pod's sysctls say otherwise",
		},
		{
			name: "stream_address", kind: ownAddress("127.0.0.1:0"), value: func(c *Config) any { return &c.StreamAddress },
			doc: "serve exec, attach and port-forward here, on an IP address or localhost; port 0 is any free one",
		},
		{
			name: "stream_idle_timeout", least: 1, most: year, value: func(c *Config) any { return &c.StreamIdleTimeout },
			doc: "end exec, attach and port-forward streams on which nothing has moved for so long",
		},
		{
			name: "exec_drain_timeout", most: hour, value: func(c *Config) any { return &c.ExecDrainTimeout },
			doc: "wait so long, once the command of an exec has ended, for the output of background processes that hold its pipes;\n" +
				"0s waits not at all",
		},
	}
}

func deviceSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "cdi_spec_dirs", section: "Devices", kind: directory(lookDirectory), some: true, value: func(c *Config) any { return &c.CDIDirs },
			doc: "look here for the files that describe devices by name (CDI); of those that describe one device, the one in the last\n" +
				"directory counts. They are read anew for each container",
		},
	}
}

func cgroupSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "cgroup_driver", section: "Control groups", kind: oneOf("auto", "cgroupfs", "systemd").looked(lookDriver),
			value: func(c *Config) any { return &c.CgroupDriver },
			doc: "make pods' cgroups by: cgroupfs, directories; systemd, scopes in slices; auto, systemd where it runs the machine\n" +
				"and cgroups are v2, else cgroupfs",
			more: "The kubelet asks which it is (RuntimeConfig), or must be told the same",
		},
		{
			name: "cgroup_parent", kind: cgroup(), value: func(c *Config) any { return &c.CgroupParent },
			doc:   "put pods that name no parent below this cgroup or, with the driver systemd, slice",
			unset: "/siflet, or siflet.slice", example: `"/siflet"`,
		},
	}
}

func securitySettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "enable_selinux", section: "Security", value: func(c *Config) any { return &c.EnableSELinux },
			doc: "give pods, containers and their volumes SELinux labels, where the kernel runs SELinux",
		},
		{
			name: "selinux_category_range", unit: "categories", least: 64, most: 1024, value: func(c *Config) any { return &c.SELinuxCategories },
			doc: "make SELinux levels of pods of the first so many categories",
		},
	}
}

func checkpointSettings() []setting[Config] {
	return []setting[Config]{
		{
			name: "criu", section: "Checkpoints", kind: file("/usr/sbin/criu", lookProgram), value: func(c *Config) any { return &c.Criu },
			doc: "save and restore containers with this criu", unset: "the one in $PATH", example: `"/usr/sbin/criu"`,
		},
		{
			name: "restore_images", value: func(c *Config) any { return &c.RestoreImages },
			doc: "let containers go on from images that are checkpoints. Their processes get all rights that the image says they had:\n" +
				"who can choose a pod's image is root on the node, unless the policy asks for signatures",
		},
	}
}
