package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/kubetest"
)

// node is a kubelet, a proxy and an agent.
type node struct {
	number                int
	name, dir, cgroup     string
	agent, kubelet, proxy *process
	conn                  *grpc.ClientConn
}

func newNode(number int, cgroup string) *node {
	name := fmt.Sprintf("node%d", number)
	return &node{number: number, name: name, dir: filepath.Join(dir, name), cgroup: cgroup + "/" + name}
}

// files of a node by name; NUMBER is the node's, DIR its directory,
// PKI that of certificates, CGROUP the node's group and GATES the kubelet's gates.
var files = map[string]string{
	"resolv.conf": "nameserver 192.0.2.53\n",
	"agent.toml": `[handlers.crun]
runtime = "/usr/bin/crun"
[handlers.offline]
network = "none"
`,
	"cni/10-pods.conflist": `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
	{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {
		"type": "host-local", "dataDir": "DIR/addresses", "ranges": [[{"subnet": "10.244.NUMBER.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
	{"type": "portmap", "capabilities": {"portMappings": true}}]}`,
	"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: PKI/proxy.conf}
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: nodeNUMBER
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://DIR/run/siflet.sock
podLogsDir: DIR/pods
volumePluginDir: DIR/plugins
resolvConf: DIR/resolv.conf
address: 192.0.2.1NUMBER
tlsCertFile: PKI/nodeNUMBER.crt
tlsPrivateKeyFile: PKI/nodeNUMBER.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: PKI/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupRoot: CGROUP
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
syncFrequency: 10s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi}
featureGates: {EventedPLEG: GATES, CRIListStreaming: GATES}
`,
}

func (n *node) start(ca *authority) error {
	for name, text := range files {
		// The second node is one without these gates.
		text = replace(text, "NUMBER", strconv.Itoa(n.number), "DIR", n.dir, "PKI", ca.dir, "CGROUP", n.cgroup, "GATES", strconv.FormatBool(n.number == 1))
		file := filepath.Join(n.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(n.dir+"/kubelet", 0o755), kubetest.MakeCgroup(n.cgroup), n.startAgent()); err != nil {
		return err
	}
	if err := n.startKubelet(ca); err != nil {
		return err
	}
	var err error
	n.proxy, err = n.run("proxy", program("kube-proxy"), "--config", n.dir+"/proxy.yaml")
	return err
}

// run starts a program on the node.
func (n *node) run(name string, command ...string) (*process, error) {
	return run(n.name+"-"+name, append([]string{"nsenter", "--net=/run/netns/" + n.name}, command...)...)
}

func (n *node) startAgent() (err error) {
	n.agent, err = n.run("agent", filepath.Join(programs, "siflet"),
		"agent", "--config", n.dir+"/agent.toml", "--state-dir", n.dir+"/state", "--run-dir", n.dir+"/run", "--cgroup-parent", n.cgroup+"/siflet",
		"--cgroup-driver", "cgroupfs", "--cni-conf-dir", n.dir+"/cni", "--network", "cni", "--registry-hosts", dir+"/hosts", "--log-level", "debug")
	if err != nil {
		return err
	}
	if n.conn == nil {
		n.conn, err = grpc.NewClient("unix://"+n.dir+"/run/siflet.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = n.cri().Version(ctx, &criapi.VersionRequest{}, grpc.WaitForReady(true))
	return err
}

func (n *node) cri() criapi.RuntimeServiceClient { return criapi.NewRuntimeServiceClient(n.conn) }

func (n *node) startKubelet(ca *authority) (err error) {
	n.kubelet, err = n.run("kubelet", kubetest.Kubelet(n.dir, program("kubelet"), "--config", n.dir+"/kubelet.yaml",
		"--kubeconfig", ca.file(n.name+".conf"), "--root-dir", n.dir+"/kubelet", "--cert-dir", n.dir+"/pki",
		"--hostname-override", n.name, "--node-ip", fmt.Sprintf("192.0.2.1%d", n.number), "-v", "4")...)
	return err
}

// end stops the node's programs and removes its pods.
func (n *node) end() error {
	err := errors.Join(n.proxy.stop(syscall.SIGTERM), n.kubelet.stop(syscall.SIGTERM))
	if n.conn != nil {
		err = errors.Join(err, kubetest.RemovePods(patience, n.cri()), n.conn.Close())
	}
	return errors.Join(err, n.agent.stop(syscall.SIGTERM))
}

// has tells of another number of pods that the agent has.
func (n *node) has(want int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pods, err := n.cri().ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err == nil && len(pods.Items) != want {
		err = fmt.Errorf("the agent of %s has %d pods: %v", n.name, len(pods.Items), pods.Items)
	}
	return err
}
