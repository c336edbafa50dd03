package kubelet_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/siflet/siflet/test/kubetest"
)

// configuration of a kubelet: it is patient with nothing, so that tests are short.
func (n *node) configuration() string {
	lines := `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + n.socket() + `
staticPodPath: ` + n.dir + `/manifests
podLogsDir: ` + n.dir + `/logs/pods
volumePluginDir: ` + n.dir + `/plugins
resolvConf: ` + n.dir + `/resolv.conf
address: 127.0.0.1
port: ` + strconv.Itoa(n.port()) + `
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
registerNode: false
cgroupRoot: ` + n.cgroup + `
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
fileCheckFrequency: 1s
syncFrequency: 2s
volumeStatsAggPeriod: 2s
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
containerLogMaxSize: 16Ki
containerLogMaxFiles: 3
containerLogMonitorInterval: 3s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi}
featureGates: {EventedPLEG: true, CRIListStreaming: true, KubeletCrashLoopBackOffMax: true, ContainerStopSignals: true}
`
	all := strings.Split(lines, "\n")
	for line := range strings.Lines(n.settings.kubelet) {
		key, _, _ := strings.Cut(line, ":")
		all = slices.DeleteFunc(all, func(old string) bool { return strings.HasPrefix(old, key+":") })
	}
	return n.settings.kubelet + strings.Join(all, "\n")
}

// startKubelet starts a kubelet and waits until it says that it is well.
func (n *node) startKubelet() (err error) {
	n.kubeletLog, err = os.OpenFile(n.dir+"/logs/kubelet", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	files := map[string]string{"kubelet.yaml": n.configuration(), "resolv.conf": "nameserver 192.0.2.53\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	command := kubetest.Kubelet(n.dir, kubelet, "--config", n.dir+"/kubelet.yaml", "--root-dir", n.dir+"/kubelet", "--cert-dir", n.dir+"/pki",
		"--hostname-override", "node", "--node-ip", address, "-v", "4",
		// A container that is created and not yet started would count as the one that is kept.
		"--maximum-dead-containers-per-container", "2")
	n.kubelet = exec.Command(command[0], command[1:]...)
	n.kubelet.Stdout, n.kubelet.Stderr = n.kubeletLog, n.kubeletLog
	n.kubelet.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.kubelet.Start(); err != nil {
		return err
	}
	return wait(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := n.get(ctx, "/healthz")
		return err
	})
}
