package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/siflet/siflet/runtime/linux"
)

// Where a kubelet's settings are, as kubeadm makes them.
const (
	kubeletConfig = "/var/lib/kubelet/config.yaml"
	kubeadmFlags  = "/var/lib/kubelet/kubeadm-flags.env"
)

// kubeletSettings are what of a kubelet's settings has to be as the agent's are.
type kubeletSettings struct {
	ContainerRuntimeEndpoint string `yaml:"containerRuntimeEndpoint"`
	CgroupDriver             string `yaml:"cgroupDriver"`
	FailCgroupV1             *bool  `yaml:"failCgroupV1"`
}

// kubelet compares the settings of this machine's, if it has one, with the agent's.
func (m *Machine) kubelet(version int) {
	const check = "kubelet"
	flags, runs := runningKubelet()
	if !runs {
		text, _ := readSmall(kubeadmFlags) // a kubelet need not be kubeadm's
		flags = flagsOf(string(text))
	}
	if _, more := flags["config-dir"]; more {
		return // which goes before the file
	}
	file := cmp.Or(flags["config"], kubeletConfig)
	text, err := readSmall(file)
	switch {
	case err != nil && !runs:
		return // no kubelet is here
	case err != nil && flags["config"] != "":
		m.warn(check, "", "its configuration: %v", err)
		return
	case err != nil:
		file = "its flags"
	}
	k, err := readKubelet(text, flags)
	if err != nil {
		m.warn(check, "", "%s: %v", file, err)
		return
	}
	found := k.judge(file, m.config.Listen, m.driverName(version), version)
	if len(found) == 0 {
		m.ok(check, "its settings in %s are those of the agent", file)
	}
	m.findings = append(m.findings, found...)
}

// runningKubelet returns the flags of a kubelet that runs. Anybody's process can have its name,
// and one of a container sees other files: it has to be root's, with the mounts of this process.
func runningKubelet() (flags map[string]string, runs bool) {
	const mounts = "ns/mnt"
	ours, err := os.Readlink("/proc/self/" + mounts)
	if err != nil {
		return nil, false
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if text, _ := os.ReadFile(name); string(text) != "kubelet\n" { // processes come and go
			continue
		}
		if theirs, err := os.Readlink(filepath.Join(filepath.Dir(name), mounts)); err != nil || theirs != ours {
			continue
		}
		if st, err := linux.Lstat(filepath.Dir(name)); err != nil || st.UID != 0 {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if err == nil && len(line) > 0 {
			return flagsOf(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))), true
		}
	}
	return nil, false
}

// readSmall reads a file of settings.
func readSmall(path string) ([]byte, error) {
	const longest = 1 << 20
	return linux.Slurp(path, longest)
}

// flagsOf are the flags with a value in a command line, or in a line of an environment file.
func flagsOf(line string) map[string]string {
	flags := map[string]string{}
	words := strings.Fields(strings.Map(func(r rune) rune {
		if r == '"' || r == '\'' {
			return ' '
		}
		return r
	}, line))
	for i, word := range words {
		name, isFlag := strings.CutPrefix(word, "--")
		name, value, given := strings.Cut(name, "=")
		if isFlag && !given && i+1 < len(words) {
			value = words[i+1]
		}
		if isFlag {
			flags[name] = value
		}
	}
	return flags
}

// readKubelet are the settings of a configuration file, which flags go before.
func readKubelet(text []byte, flags map[string]string) (k kubeletSettings, err error) {
	if err := yaml.Unmarshal(text, &k); err != nil {
		return k, err
	}
	if v := flags["container-runtime-endpoint"]; v != "" {
		k.ContainerRuntimeEndpoint = v
	}
	if v := flags["cgroup-driver"]; v != "" {
		k.CgroupDriver = v
	}
	return k, nil
}

// judge says what is not as the agent's settings are: its address, its cgroup driver, and
// the machine's version of cgroups. A machine may well have a kubelet for another runtime.
func (k kubeletSettings) judge(file, listen, driver string, version int) (found []Finding) {
	const (
		check = "kubelet"
		first = 1 // version of cgroups
	)
	warn := func(next, format string, args ...any) {
		found = append(found, Finding{check, Warning, fmt.Sprintf(format, args...), next})
	}
	endpoint := k.ContainerRuntimeEndpoint
	if endpoint == "" {
		endpoint = "unix:///run/containerd/containerd.sock" // its default
	}
	if socketOf(endpoint) != socketOf(listen) {
		warn(fmt.Sprintf("drain the node, set containerRuntimeEndpoint: %s there, or in its flags, then: systemctl restart kubelet", listen),
			"by %s its runtime is at %s, the agent at %s", file, endpoint, listen)
	}
	if k.CgroupDriver != "" && k.CgroupDriver != driver {
		warn(fmt.Sprintf("set cgroupDriver: %s there, or cgroup_driver = %q for the agent", driver, k.CgroupDriver),
			"by %s its cgroup driver is %s, the agent's %s: one older than 1.31 does not ask the agent", file, k.CgroupDriver, driver)
	}
	if version == first && (k.FailCgroupV1 == nil || *k.FailCgroupV1) {
		warn("set failCgroupV1: false there, or start the machine with cgroup v2", "by %s it does not start with cgroup v1, if it is 1.35 or newer", file)
	}
	return found
}

// socketOf is the path of a socket, however it is written.
func socketOf(address string) string {
	path := filepath.Clean(strings.TrimPrefix(address, "unix://"))
	if rest, old := strings.CutPrefix(path, "/var/run/"); old {
		return "/run/" + rest
	}
	return path
}
