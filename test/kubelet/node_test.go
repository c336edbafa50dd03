package kubelet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/kubetest"
	"github.com/siflet/siflet/test/siftest"
)

// patience bounds everything that is waited for, on a machine that is emulated, too.
const patience = 5 * time.Minute

// settings of a node that differ from one test to another.
type settings struct {
	kubelet string // lines of its configuration, instead of those that are there
	agent   []string
	store   string // the size of the file system that images have for themselves
}

// node is a kubelet on an agent, with directories and cgroups of their own.
type node struct {
	settings

	number         int
	dir, cgroup    string
	image          string // its name for a kubelet
	agent, kubelet *exec.Cmd
	agentLog       *os.File
	kubeletLog     *os.File
	conn           *grpc.ClientConn
	web            *http.Client
}

// nodes counts: no two of a test binary may have the same port.
var nodes atomic.Int32

// start starts a node for this test alone.
func start(t *testing.T, s settings) *node {
	t.Helper()
	n, err := begin(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			n.tell(t.Output())
		}
		if err := n.checkNothingLeft(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// begin starts an agent and a kubelet, and waits until the latter is well.
func begin(s settings) (*node, error) {
	n := &node{settings: s, number: int(nodes.Add(1))}
	n.dir = "/run/k" + strconv.Itoa(n.number)
	n.cgroup = fmt.Sprintf("/siflet-kubelet-test-%d-%d", os.Getpid(), n.number)
	n.web = &http.Client{Transport: &http.Transport{TLSClientConfig: n.tls()}, Timeout: patience}
	n.image = "local.file" + n.dir + "/image.sif"
	for _, sub := range []string{"manifests", "kubelet", "logs"} {
		if err := os.MkdirAll(filepath.Join(n.dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if n.store != "" {
		err := errors.Join(os.Mkdir(n.dir+"/state", 0o755), syscall.Mount("tmpfs", n.dir+"/state", "tmpfs", 0, "size="+n.store))
		if err != nil {
			return nil, err
		}
	}
	err := siftest.Write(context.Background(), n.dir+"/image.sif", siftest.Options{Busybox: true, Bare: true})
	if err == nil {
		err = kubetest.MakeCgroup(n.cgroup)
	}
	if err == nil {
		err = n.startAgent()
	}
	if err == nil {
		err = n.startKubelet()
	}
	if err != nil {
		n.tell(os.Stderr)
		return nil, errors.Join(err, n.end(), n.checkNothingLeft())
	}
	return n, nil
}

func (n *node) tls() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the kubelet makes its own certificate, on this very machine
}

func (n *node) socket() string { return n.dir + "/run/siflet.sock" }

func (n *node) port() int { return 10250 + n.number }

func (n *node) startAgent() (err error) {
	n.agentLog, err = os.OpenFile(n.dir+"/logs/agent", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	n.agent = exec.Command(filepath.Join(programs, "siflet"), append([]string{
		"agent", "--state-dir", n.dir + "/state", "--run-dir", n.dir + "/run", "--cgroup-parent", n.cgroup + "/siflet",
		"--cgroup-driver", "cgroupfs", "--cni-conf-dir", n.dir + "/cni", "--network", "bridge", "--bridge", "siflet" + strconv.Itoa(n.number),
		"--subnet", fmt.Sprintf("10.214.%d.0/24", n.number), "--log-level", "debug",
	}, n.settings.agent...)...)
	n.agent.Stdout, n.agent.Stderr = n.agentLog, n.agentLog
	n.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.agent.Start(); err != nil {
		return err
	}
	n.conn, err = grpc.NewClient("unix://"+n.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = n.cri().Version(ctx, &criapi.VersionRequest{}, grpc.WaitForReady(true))
	return err
}

func (n *node) cri() criapi.RuntimeServiceClient { return criapi.NewRuntimeServiceClient(n.conn) }

// end stops the kubelet, removes all pods and stops the agent.
func (n *node) end() error {
	err := kubetest.Stop(n.kubelet, syscall.SIGTERM)
	if n.conn != nil {
		err = errors.Join(err, kubetest.RemovePods(patience, n.cri()), n.conn.Close())
	}
	return errors.Join(err, kubetest.Stop(n.agent, syscall.SIGTERM))
}

// checkNothingLeft looks for what pods could leave behind, and removes what the
// kubelet has made.
func (n *node) checkNothingLeft() error {
	return errors.Join(kubetest.CheckEmpty(n.dir+"/state", n.dir+"/run"), kubetest.RemoveCgroup(n.cgroup))
}

// tell writes what there is to know about a failure.
func (n *node) tell(w io.Writer) {
	for _, name := range []string{"agent", "kubelet"} {
		text, err := os.ReadFile(filepath.Join(n.dir, "logs", name))
		if dir := os.Getenv("SIFLET_KUBELET_LOGS"); dir != "" && err == nil {
			err = os.WriteFile(filepath.Join(dir, name+strconv.Itoa(n.number)), text, 0o644)
		}
		text = text[max(0, len(text)-32<<10):]
		_, _ = fmt.Fprintf(w, "the end of the %s's log: %v\n%s\n", name, err, text)
	}
}

// get asks the kubelet's API.
func (n *node) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url("https", path), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := n.web.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, strings.TrimSpace(string(text)))
	}
	return string(text), err
}

func (n *node) url(scheme, path string) string {
	return scheme + "://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port())) + path
}

// eventually waits until there is no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	if err := wait(check); err != nil {
		t.Fatalf("waited %s for %s: %v", patience, what, err)
	}
}

func wait(check func() error) error { return kubetest.Wait(patience, check) }
