package cri_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestDNSAndHostnameAreThePods(t *testing.T) {
	a := start(t)
	p := podConfig(a, "names")
	p.Hostname = "web-0.web.test.svc.cluster.local"
	p.DnsConfig = &criapi.DNSConfig{
		Servers: []string{"192.0.2.53", "2001:db8::53"}, Searches: []string{"test.svc.cluster.local", "cluster.local"}, Options: []string{"ndots:5"},
	}
	pod := a.pod(p)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for _, c := range []struct{ what, command, want string }{
		{"resolv.conf", "cat /etc/resolv.conf", "search test.svc.cluster.local cluster.local\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:5\n"},
		{"hostname", "hostname", p.Hostname + "\n"},
		{"/etc/hostname", "cat /etc/hostname", p.Hostname + "\n"},
		{"HOSTNAME", "echo $HOSTNAME", p.Hostname + "\n"},
	} {
		if got := string(a.execSync(id, "sh", "-c", c.command).Stdout); got != c.want {
			t.Errorf("%s = %q, want %q", c.what, got, c.want)
		}
	}
	status, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	if hosts := string(a.execSync(id, "cat", "/etc/hosts").Stdout); !strings.Contains(hosts, status.Status.Network.Ip+"\t"+p.Hostname) {
		t.Errorf("/etc/hosts = %q, want the pod's address %s", hosts, status.Status.Network.Ip)
	}
}

func TestTheKubeletsHostsFileIsLeftAlone(t *testing.T) {
	a := start(t)
	p := podConfig(a, "hosts")
	pod := a.pod(p)
	hosts := a.dir + "/hosts"
	const text = "127.0.0.1\tlocalhost\n192.0.2.1\tby-the-kubelet\n"
	if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Mounts = []*criapi.Mount{{HostPath: hosts, ContainerPath: "/etc/hosts"}}
	id := a.launch(pod, c, p)
	if got := string(a.execSync(id, "cat", "/etc/hosts").Stdout); got != text {
		t.Errorf("/etc/hosts = %q, want %q", got, text)
	}
}

func TestAPodOfTheNodesNetworkHasTheNodesName(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("node")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	want, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(a.execSync(id, "hostname").Stdout)); got != want {
		t.Errorf("hostname = %q, want the node's %q", got, want)
	}
}

// page is what the web server at address answers.
func page(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err.Error()
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(answer.Body)
	return string(body)
}

func TestHostPortsReachThePod(t *testing.T) {
	a := start(t)
	p := podConfig(a, "ports")
	p.PortMappings = []*criapi.PortMapping{
		{HostPort: 18080, ContainerPort: 8080},
		{HostPort: 18081, ContainerPort: 8080, HostIp: "127.0.0.1"},
		{HostPort: 18082, ContainerPort: 8080, HostIp: "0.0.0.0"},
		{HostPort: 18083, ContainerPort: 8080, HostIp: "::"},
		{HostPort: 18084, ContainerPort: 8081, Protocol: criapi.Protocol_UDP},
		{HostPort: 18085, ContainerPort: 8082, Protocol: criapi.Protocol_SCTP},
		{ContainerPort: 9090},
	}
	pod := a.pod(p)
	a.launch(pod, containerConfig("c", busybox(t), "sh", "-c",
		"mkdir -p /tmp/www; echo it works >/tmp/www/index.html; exec httpd -f -p '[::]:8080' -h /tmp/www"), p)
	bridge4, bridge6 := "10.213.0.1", "[fd51:f1e7:a213::1]"
	eventually(t, "the server", func() bool { return strings.Contains(page(t.Context(), "127.0.0.1:18080"), "it works") })
	for address, reached := range map[string]bool{
		bridge4 + ":18080": true, bridge6 + ":18080": true,
		"127.0.0.1:18081": true, bridge4 + ":18081": false,
		bridge4 + ":18082": true, bridge6 + ":18082": false,
		bridge6 + ":18083": true, bridge4 + ":18083": false,
	} {
		if got := page(t.Context(), address); strings.Contains(got, "it works") != reached {
			t.Errorf("%s answers %q; reached should be %v", address, got, reached)
		}
	}
	status, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	if got := page(t.Context(), net.JoinHostPort(status.Status.Network.Ip, "8080")); !strings.Contains(got, "it works") {
		t.Errorf("the pod's own address answers %q", got)
	}
	if nft, err := exec.LookPath("nft"); err != nil {
		t.Log("the mappings of UDP and SCTP are not looked at: apt-get install nftables")
	} else {
		out, err := exec.CommandContext(t.Context(), nft, "--numeric-protocol", "list", "map", "ip", "siflet", "ports").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "132 . 18085") || !strings.Contains(string(out), "17 . 18084") {
			t.Errorf("port map = %s, %v; want UDP port 18084 and SCTP port 18085", out, err)
		}
	}
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if got := page(t.Context(), "127.0.0.1:18080"); strings.Contains(got, "it works") {
		t.Error("the host port outlived the pod")
	}
}

func TestBandwidthAnnotationsLimitThePod(t *testing.T) {
	tc, err := exec.LookPath("tc")
	if err != nil {
		t.Skip("needs tc: apt-get install iproute2")
	}
	a := start(t)
	p := podConfig(a, "slow")
	p.Annotations["kubernetes.io/ingress-bandwidth"] = "3M"
	a.pod(p)
	out, err := exec.CommandContext(t.Context(), tc, "qdisc", "show").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rate 3Mbit") {
		t.Errorf("qdiscs = %s, %v; want one of 3Mbit", out, err)
	}
	p = podConfig(a, "wrong")
	p.Annotations["kubernetes.io/egress-bandwidth"] = "very fast"
	_, err = a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: p})
	wantRefusal(t, "wrong rate", err, "InvalidArgument", "egress-bandwidth")
}

func TestAHostPortThatCantReachThePodIsRefused(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	c.PortMappings = []*criapi.PortMapping{{HostPort: 18080, ContainerPort: 80, HostIp: "::1"}}
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: c})
	wantRefusal(t, "a port of ::1", err, "InvalidArgument", "host port 18080: the kernel can't forward from [::1]")
}
