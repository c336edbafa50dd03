package cri

import (
	"crypto/sha256"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// instanceSpec is the instance that a pod's configuration asks for.
//
// What CRI says about the sandbox's own process (its user, seccomp profile,
// read-only root) has nothing to apply to: no process of a pod's choice runs
// in an instance by itself.
func (s *Server) instanceSpec(c *criapi.PodSandboxConfig, handler string) (runtime.InstanceSpec, error) {
	none := runtime.InstanceSpec{}
	meta, err := podMetadata(c)
	if err != nil {
		return none, err
	}
	if c.GetWindows() != nil {
		return none, invalid("windows", "this node runs Linux")
	}
	security := c.GetLinux().GetSecurityContext()
	ns, err := podNamespaces("linux.security_context.namespace_options", security.GetNamespaceOptions())
	if err != nil {
		return none, err
	}
	labels, err := s.selinux("linux.security_context", security.GetSelinuxOptions())
	if err != nil {
		return none, err
	}
	if _, err := seccompProfile("linux.security_context", security.GetSeccomp(), security.GetSeccompProfilePath()); err != nil { //nolint:staticcheck // old clients
		return none, err
	}
	if security.GetRunAsGroup() != nil && security.GetRunAsUser() == nil {
		return none, invalid("linux.security_context.run_as_group", "is set without a user")
	}
	spec := runtime.InstanceSpec{
		Name: podName(meta), Pod: true, Metadata: meta, Handler: handler, Namespaces: ns,
		Hostname:     c.GetHostname(),
		CgroupParent: c.GetLinux().GetCgroupParent(), LogDir: c.GetLogDirectory(),
		Privileged: security.GetPrivileged(), SELinux: labels,
	}
	if err := checkPaths(c); err != nil {
		return none, err
	}
	if err := s.checkParent("linux.cgroup_parent", spec.CgroupParent); err != nil {
		return none, err
	}
	if spec.DNS, err = dns(c.GetDnsConfig()); err != nil {
		return none, err
	}
	s.handlers()[handler].Instance(&spec)
	if ns.Network != runtime.ModeHost {
		if spec.Ports, err = ports(c.GetPortMappings()); err != nil {
			return none, err
		}
	}
	if err := bandwidth(c.GetAnnotations(), &spec); err != nil {
		return none, err
	}
	if err := checkAlone(handler, &spec); err != nil {
		return none, err
	}
	if spec.PodLimits, err = s.podLimits("linux.", c.GetLinux().GetResources(), c.GetLinux().GetOverhead()); err != nil {
		return none, err
	}
	spec.Sysctls, err = s.sysctls("linux.sysctls", c.GetLinux().GetSysctls(), ns, security.GetNamespaceOptions().GetUsernsOptions())
	return spec, err
}

func podMetadata(c *criapi.PodSandboxConfig) (runtime.Metadata, error) {
	m := c.GetMetadata()
	meta := runtime.Metadata{
		Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUid(), Attempt: m.GetAttempt(),
		Labels: c.GetLabels(), Annotations: c.GetAnnotations(),
	}
	if meta.Name == "" {
		return meta, invalid("metadata.name", "is missing")
	}
	for _, f := range [][2]string{{"name", meta.Name}, {"namespace", meta.Namespace}, {"uid", meta.UID}} {
		if err := checkName("metadata."+f[0], f[1]); err != nil {
			return meta, err
		}
	}
	return meta, checkMaps(meta.Labels, meta.Annotations)
}

const (
	maxName = 253     // of what Kubernetes names
	maxText = 1 << 20 // of labels, annotations and the environment together
)

func checkName(field, name string) error {
	if len(name) > maxName {
		return invalid(field, "is %d bytes long; %d is the limit", len(name), maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f }) {
		return invalid(field, "%q holds a slash or a control character", name)
	}
	return nil
}

func checkMaps(labels, annotations map[string]string) error {
	size := 0
	for _, m := range []map[string]string{labels, annotations} {
		for k, v := range m {
			size += len(k) + len(v)
		}
	}
	if size > maxText {
		return invalid("annotations", "labels and annotations are %d bytes; %d is the limit", size, maxText)
	}
	return nil
}

// podName is unique for what Kubernetes keeps unique, and fit to be typed.
func podName(m runtime.Metadata) string {
	full := fmt.Sprintf("%s_%s_%s_%d", m.Name, m.Namespace, m.UID, m.Attempt)
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		default:
			return '-'
		}
	}, full)
	if plain == full && len(full) <= maxName {
		return full
	}
	sum := sha256.Sum256([]byte(full))
	return fmt.Sprintf("%s-%x", plain[:min(len(plain), 200)], sum[:8])
}

func checkPaths(c *criapi.PodSandboxConfig) error {
	if dir := c.GetLogDirectory(); dir != "" && !cleanAbs(dir) {
		return invalid("log_directory", "%q is not an absolute path", dir)
	}
	if h := c.GetHostname(); len(h) > 64 || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }) {
		return invalid("hostname", "%q is not a host name of at most 64 characters", h)
	}
	return nil
}

func cleanAbs(path string) bool {
	return filepath.IsAbs(path) && !strings.ContainsRune(path, 0) &&
		!slices.Contains(strings.Split(path, "/"), "..")
}

// dns is nil, the node's own, when c says nothing.
func dns(c *criapi.DNSConfig) (*runtime.DNS, error) {
	if len(c.GetServers())+len(c.GetSearches())+len(c.GetOptions()) == 0 {
		return nil, nil //nolint:nilnil // nothing asked and nothing wrong
	}
	for i, server := range c.GetServers() {
		if _, err := netip.ParseAddr(server); err != nil {
			return nil, invalid(fmt.Sprintf("dns_config.servers[%d]", i), "%q is not an IP address", server)
		}
	}
	for name, words := range map[string][]string{"searches": c.GetSearches(), "options": c.GetOptions()} {
		for i, word := range words {
			if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
				return nil, invalid(fmt.Sprintf("dns_config.%s[%d]", name, i), "%q is not one word", word)
			}
		}
	}
	return &runtime.DNS{Servers: c.GetServers(), Searches: c.GetSearches(), Options: c.GetOptions()}, nil
}

// ports are the mappings that ask for a port of the node.
func ports(mappings []*criapi.PortMapping) ([]runtime.Port, error) {
	var out []runtime.Port
	for i, m := range mappings {
		at := func(name string) string { return fmt.Sprintf("port_mappings[%d].%s", i, name) }
		protocol, ok := criapi.Protocol_name[int32(m.GetProtocol())]
		if !ok {
			return nil, invalid(at("protocol"), "unknown protocol %d", m.GetProtocol())
		}
		if p := m.GetContainerPort(); p < 0 || p > math.MaxUint16 || p == 0 && m.GetHostPort() != 0 {
			return nil, invalid(at("container_port"), "%d is not a port", p)
		}
		if p := m.GetHostPort(); p < 0 || p > math.MaxUint16 {
			return nil, invalid(at("host_port"), "%d is not a port", p)
		}
		if m.GetHostPort() == 0 {
			continue
		}
		port := runtime.Port{
			Host: uint16(m.GetHostPort()), Container: uint16(m.GetContainerPort()),
			Protocol: strings.ToLower(protocol),
		}
		if ip := m.GetHostIp(); ip != "" {
			addr, err := netip.ParseAddr(ip)
			if err != nil {
				return nil, invalid(at("host_ip"), "%q is not an IP address", ip)
			}
			port.HostIP = addr // 0.0.0.0 and :: are all addresses of their family alone
		}
		out = append(out, port)
	}
	return out, nil
}
