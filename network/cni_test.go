package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const debianPlugins = "/usr/lib/cni"

func needPlugins(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range append(names, "bridge", "host-local") {
		if !exists(filepath.Join(debianPlugins, name)) {
			t.Skipf("needs the CNI plugin %s: apt-get install containernetworking-plugins", name)
		}
	}
	// host-local keeps its leases here.
	if err := os.MkdirAll("/var/lib/cni", 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, "/var/lib/cni")
}

func (m *machine) configure(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.cfg.CNIConfDir, name)
	if err := os.MkdirAll(m.cfg.CNIConfDir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// plugin installs a shell script as a CNI plugin.
func (m *machine) plugin(name, script string) {
	m.t.Helper()
	path := filepath.Join(m.cfg.CNIBinDirs[0], name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func withPlugins(t *testing.T) *machine {
	t.Helper()
	bin := t.TempDir()
	return newMachine(t, func(c *Config) { c.CNIBinDirs = []string{bin, debianPlugins} })
}

const chain = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]]},
   "dns": {"nameservers": ["192.0.2.53"], "search": ["example.org"]}},
  {"type": "portmap", "capabilities": {"portMappings": true}},
  {"type": "bandwidth", "capabilities": {"bandwidth": true}}]}`

func TestCNIChain(t *testing.T) {
	if !isolate(t) {
		return
	}
	needPlugins(t, "portmap", "bandwidth")
	m := withPlugins(t)
	m.configure("10-pods.conflist", chain)
	if err := m.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := m.request("a", Port{Host: 8080, Container: 80})
	req.IngressBps, req.EgressBps = 100_000_000, 100_000_000
	res, err := m.Attach(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Network != "pods" || len(res.Addresses) != 2 || len(res.Gateways) != 2 || len(res.DNS.Servers) != 1 {
		t.Errorf("Attach() = %+v, want two addresses in pods, and its DNS", res)
	}
	// portmap's own CHECK looks for IPv4 rules among those of IPv6, so the holder
	// without ports is the one to check.
	b := m.request("b")
	b.IngressBps, b.EgressBps = 100_000_000, 100_000_000
	other, err := m.Attach(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Check(t.Context(), b, other); err != nil {
		t.Error(err)
	}
	serve(t, req.Netns, 80)
	for _, addr := range res.Addresses {
		reach(t, b.Netns, at80(addr))
	}
	if _, err := ask(t, "", "tcp", "127.0.0.1:8080"); err != nil {
		t.Error(err)
	}
	// The configuration changes; what was attached is left as it was joined.
	m.configure("10-pods.conflist", strings.ReplaceAll(chain, "pods", "other"))
	for range 2 {
		if err := m.Detach(t.Context(), req, res); err != nil {
			t.Error(err)
		}
	}
	if left := hostLocalLeases(t); len(left) != 2 {
		t.Errorf("leases after Detach of one of two holders: %v, want two", left)
	}
	if err := m.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if left := hostLocalLeases(t); len(left) != 0 {
		t.Errorf("leases after Collect: %v, want none", left)
	}
}

func hostLocalLeases(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/var/lib/cni/networks/pods/[0-9f]*")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCNIDetachWithoutResultFreesTheAddress(t *testing.T) {
	if !isolate(t) {
		return
	}
	needPlugins(t)
	m := withPlugins(t)
	m.configure("10-pods.conf", `{"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "cni0",
		"ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}}`)
	req, _ := m.attached("a")
	if err := Unpin(req.Netns); err != nil {
		t.Fatal(err)
	}
	if err := m.Detach(t.Context(), req, Result{}); err != nil {
		t.Error(err)
	}
	if left := hostLocalLeases(t); len(left) != 0 {
		t.Errorf("leases: %v, want none", left)
	}
}

func TestCNIFailureIsUndone(t *testing.T) {
	if !isolate(t) {
		return
	}
	needPlugins(t)
	m := withPlugins(t)
	m.plugin("refuse", `[ "$CNI_COMMAND" = ADD ] && { echo '{"cniVersion":"1.0.0","code":11,"msg":"no quota left"}'; exit 1; }; exit 0`)
	m.configure("10-pods.conflist", `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
		{"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}}, {"type": "refuse"}]}`)
	_, err := m.Attach(t.Context(), m.request("a"))
	if err == nil || !strings.Contains(err.Error(), "no quota left") || !strings.Contains(err.Error(), "refuse") {
		t.Errorf("Attach() = %v, want the plugin's name and message", err)
	}
	if left := hostLocalLeases(t); len(left) != 0 {
		t.Errorf("leases: %v, want none", left)
	}
	eventually(t, "the link to go", func() bool { return len(m.leftovers()) == 0 })
}

func TestStatusNamesABrokenConfiguration(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := withPlugins(t)
	if err := m.Status(t.Context()); err != nil {
		t.Errorf("Status() without a configuration = %v, want nil", err)
	}
	for _, text := range []string{
		`{`, `{"cniVersion": "1.0.0", "name": "pods", "plugins": []}`,
		`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "absent"}]}`,
		`{"cniVersion": "1.0.0", "name": "pods"}`, "", `[]`,
	} {
		path := m.configure("10-pods.conflist", text)
		if err := m.Status(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Status() with %s = %v, want an error that names %s", text, err, path)
		}
		req := m.request(fmt.Sprint("holder-", len(text)))
		if _, err := m.Attach(t.Context(), req); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Attach() with %s = %v, want an error that names %s", text, err, path)
		}
		// The command line's instances don't depend on it.
		req.BuiltIn = true
		if _, err := m.Attach(t.Context(), req); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(m.configure("10-pods.conflist", "")); err != nil {
		t.Fatal(err)
	}
	if err := m.Status(t.Context()); err != nil {
		t.Errorf("Status() after the file went = %v, want nil", err)
	}
}

func TestCNIStatusAndCollectAskPluginsThatSpeak11(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := withPlugins(t)
	calls := filepath.Join(m.dir, "calls")
	ready := filepath.Join(m.dir, "ready")
	m.plugin("modern", fmt.Sprintf(`input=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_ARGS $input" >>%s
case $CNI_COMMAND in
STATUS) [ -e %s ] || { echo '{"cniVersion":"1.1.0","code":50,"msg":"not yet"}'; exit 1; } ;;
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"192.0.2.7/24"}]}' ;;
esac`, calls, ready))
	m.configure("10-pods.conflist", `{"cniVersion": "1.1.0", "name": "pods", "plugins": [
		{"type": "modern", "capabilities": {"portMappings": true, "dns": true, "bandwidth": true}}]}`)
	if err := m.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("Status() = %v, want the plugin's message", err)
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Status(t.Context()); err != nil {
		t.Error(err)
	}
	req := m.request("a", Port{Host: 53, Container: 5353, Protocol: "udp", HostIP: netip.MustParseAddr("192.0.2.1")})
	req.DNS.Servers = []string{"192.0.2.53"}
	req.EgressBps = 1000
	res, err := m.Attach(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParsePrefix("192.0.2.7/24"); len(res.Addresses) != 1 || res.Addresses[0] != want {
		t.Errorf("Attach() = %+v, want the address %s", res, want)
	}
	m.attached("b")
	if err := m.Collect(t.Context(), []Request{req}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ADD a IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=a;K8S_POD_UID=",
		`"hostIP":"192.0.2.1"`, `"hostPort":53`, `"servers":["192.0.2.53"]`, `"egressRate":1000`,
		"DEL b ", `"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]`, "GC  ",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("plugin was never told %s; it was told:\n%s", want, data)
		}
	}
	if strings.Contains(string(data), "DEL a ") {
		t.Error("Collect made the plugins drop a valid attachment")
	}
}
