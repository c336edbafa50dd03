package cri_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// withCNI is an agent whose CNI plugins are shell scripts.
func withCNI(t *testing.T, args ...string) *agent {
	t.Helper()
	dir := t.TempDir()
	a := start(t, append([]string{"--cni-bin-dir", dir}, args...)...)
	a.plugins = dir
	return a
}

// plugin makes the plugin "plain".
func (a *agent) plugin(script string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.plugins, "plain"), []byte("#!/bin/sh\ncat >/dev/null\n"+script), 0o755); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) configureCNI(text string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, "cni", "10-pods.conflist")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// network is the condition NetworkReady.
func (a *agent) network() *criapi.RuntimeCondition {
	a.t.Helper()
	got, err := a.Status(within(a.t), &criapi.StatusRequest{})
	if err != nil {
		a.t.Fatalf("Status: %v", err)
	}
	for _, c := range got.Status.Conditions {
		if c.Type == "NetworkReady" {
			return c
		}
	}
	a.t.Fatal("Status has no condition NetworkReady")
	return nil
}

func (a *agent) wantNetwork(when string, ready bool, text string) {
	a.t.Helper()
	if c := a.network(); c.Status != ready || !strings.Contains(c.Message, text) || !ready && c.Reason == "" {
		a.t.Errorf("%s: NetworkReady = %v, want %v with %q", when, c, ready, text)
	}
}

const (
	plainCNI = `{"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "plain"}]}`
	// plainPlugin gives every pod the same address.
	plainPlugin = `case $CNI_COMMAND in ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"192.0.2.7/24"},{"address":"2001:db8::7/64"}]}' ;; esac`
)

func TestNetworkReadyFollowsCNIWithoutARestart(t *testing.T) {
	a := withCNI(t, "--network", "cni")
	a.wantNetwork("without a configuration", false, a.dir+"/cni")
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "early")})
	wantRefusal(t, "a pod without a configuration", err, "Unknown", a.dir+"/cni")
	path := a.configureCNI("{")
	a.wantNetwork("with a broken configuration", false, path)
	a.configureCNI(plainCNI)
	a.wantNetwork("without the plugin", false, "plain")
	a.plugin(`[ "$CNI_COMMAND" = STATUS ] && { echo '{"cniVersion":"1.1.0","code":50,"msg":"no route to the controller"}'; exit 1; }; exit 0`)
	a.wantNetwork("with a plugin that is not well", false, "no route to the controller")
	a.plugin(plainPlugin)
	a.wantNetwork("with a plugin that is well", true, "")
	a.checkNoPod()
	pod := a.pod(podConfig(a, "late"))
	status, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	n := status.Status.Network
	if n.Ip != "192.0.2.7" || len(n.AdditionalIps) != 1 || n.AdditionalIps[0].Ip != "2001:db8::7" {
		t.Errorf("addresses = %v, want 192.0.2.7 and 2001:db8::7", n)
	}
}

func TestAPodFindsItsOwnResultAfterASlowPlugin(t *testing.T) {
	a := withCNI(t)
	a.plugin(`[ "$CNI_COMMAND" = ADD ] && while ! [ -e ` + a.dir + `/go ]; do sleep 0.05; done
` + plainPlugin)
	a.configureCNI(plainCNI)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	p := podConfig(a, "slow")
	_, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: p})
	wantCode(t, "RunPodSandbox", err, "DeadlineExceeded")
	if err := os.WriteFile(a.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pod := a.pod(p)
	pods, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{})
	if err != nil || len(pods.Items) != 1 || pods.Items[0].Id != pod {
		t.Errorf("pods = %v, %v; want %s alone", pods, err, pod)
	}
}

func TestAPluginThatFailsLeavesNothing(t *testing.T) {
	a := withCNI(t)
	deleted := filepath.Join(a.dir, "deleted")
	a.plugin(`case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","code":11,"msg":"no quota left"}'; exit 1 ;;
DEL) echo "$CNI_CONTAINERID" >>` + deleted + ` ;;
esac`)
	a.configureCNI(plainCNI)
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "poor")})
	wantRefusal(t, "RunPodSandbox", err, "Unavailable", "no quota left")
	a.checkNoPod()
	if text, err := os.ReadFile(deleted); err != nil || len(text) == 0 {
		t.Errorf("the plugin was not asked to clean up: %q, %v", text, err)
	}
	a.plugin(plainPlugin)
	a.pod(podConfig(a, "poor"))
}

func TestStatusDoesNotWaitForAPluginThatHangs(t *testing.T) {
	a := withCNI(t)
	a.plugin(`[ "$CNI_COMMAND" = STATUS ] && sleep 1000; exit 0`)
	a.configureCNI(plainCNI)
	a.wantNetwork("with a plugin that hangs", false, "plain")
}

func TestAPluginThatHangsIsGivenUpAndNamed(t *testing.T) {
	a := withCNI(t, "--cni-timeout", "2s")
	a.plugin(`[ "$CNI_COMMAND" = ADD ] && sleep 1000; exit 0`)
	a.configureCNI(plainCNI)
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "hung")})
	wantRefusal(t, "a pod whose plugin hangs", err, "DeadlineExceeded", "/plain: ")
	if err != nil && !strings.Contains(err.Error(), "did not answer within 2s") {
		t.Errorf("RunPodSandbox: %v, want how long it waited", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: podConfig(a, "left")})
	wantCode(t, "a pod whose caller leaves", err, "DeadlineExceeded")
	a.logs("no longer waits for could not be made", "CNI plugins are slow")
	a.checkNoPod()
	a.plugin(plainPlugin)
	a.pod(podConfig(a, "hung"))
}
