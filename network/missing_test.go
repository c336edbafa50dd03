package network

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestWithoutIPv6HoldersHaveIPv4(t *testing.T) {
	if !isolate(t) {
		return
	}
	if err := setSysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
		t.Skipf("disable IPv6: %v", err)
	}
	m := newMachine(t, nil)
	a, res := m.attached("a", Port{Host: 8080, Container: 80})
	m.attached("b")
	if len(res.Addresses) != 1 || !res.Addresses[0].Addr().Is4() {
		t.Errorf("Addresses = %v, want one of IPv4", res.Addresses)
	}
	serve(t, a.Netns, 80)
	reach(t, "", at80(res.Addresses[0]))
	if n := strings.Count(m.log.String(), "no IPv6"); n != 1 {
		t.Errorf("warned of IPv6 %d times, want once:\n%s", n, m.log)
	}
}

func TestWithoutNftablesOnlyPortsAreRefused(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	if err := m.bridge.sockets(); err != nil {
		t.Fatal(err)
	}
	m.bridge.nat.socket.close()
	m.bridge.nat = nil // as when the kernel has no netfilter
	a, res := m.attached("a")
	serve(t, a.Netns, 80)
	reach(t, "", at80(res.Addresses[0]))
	if !strings.Contains(m.log.String(), "no address translation") {
		t.Errorf("no warning in:\n%s", m.log)
	}
	if _, err := m.Attach(t.Context(), m.request("b", Port{Host: 8080, Container: 80})); !errors.Is(err, errNoNetfilter) {
		t.Errorf("Attach() with a port = %v, want %v", err, errNoNetfilter)
	}
}

func TestStatusAfterARestartRepairsFlushedRules(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := newMachine(t, nil)
	a, _ := m.attached("a", Port{Host: 8080, Container: 80})
	serve(t, a.Netns, 80)
	if out, err := exec.CommandContext(t.Context(), "nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Skipf("nft: %v: %s", err, out)
	}
	if err := newMachine(t, nil).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, "", "tcp", "127.0.0.1:8080"); err != nil {
		t.Error(err)
	}
}
