package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/siflet/siflet/test/kubetest"
	"github.com/siflet/siflet/test/siftest"
)

const (
	server = "https://192.0.2.1:6443"
	// dir is where the cluster has its files; the nodes share images.
	dir    = "/run/site"
	images = dir + "/images"
	// patience bounds everything that is waited for.
	patience = 4 * time.Minute
)

// cluster is a control plane and its nodes.
type cluster struct {
	cgroup string
	ca     *authority
	web    *http.Client
	master []*process
	nodes  []*node
}

// process is a program with a log.
type process struct {
	name string
	cmd  *exec.Cmd
}

func logOf(name string) string { return filepath.Join(dir, "logs", name) }

// run starts a program whose log has that name.
func run(name string, command ...string) (*process, error) {
	log, err := os.OpenFile(logOf(name), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name, exec.Command(command[0], command[1:]...)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, p.cmd.Start()
}

func (p *process) stop(sig syscall.Signal) error {
	if p == nil {
		return nil
	}
	return kubetest.Stop(p.cmd, sig)
}

// begin starts everything and waits until both nodes are ready. What has begun
// must be ended even after an error.
func begin(cgroup string) (*cluster, error) {
	c := &cluster{cgroup: cgroup}
	for _, sub := range []string{"logs", "hosts", "images"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return c, err
		}
	}
	if err := errors.Join(c.certify(), writeImages(), kubetest.MakeCgroup(cgroup)); err != nil {
		return c, err
	}
	if err := c.control(); err != nil {
		return c, err
	}
	for number := 1; number <= 2; number++ {
		n := newNode(number, cgroup)
		c.nodes = append(c.nodes, n)
		if err := n.start(c.ca); err != nil {
			return c, err
		}
	}
	return c, wait(c.ready)
}

// writeImages writes web servers that say which version they are.
func writeImages() (err error) {
	for _, version := range []string{"v1", "v2"} {
		err = errors.Join(err, siftest.Write(context.Background(), filepath.Join(images, version+".sif"), siftest.Web(version+"\n")))
	}
	return err
}

func (c *cluster) certify() (err error) {
	if c.ca, err = newAuthority(dir + "/pki"); err != nil {
		return err
	}
	err = errors.Join(
		c.ca.issue("apiserver", "apiserver", nil, "192.0.2.1", "127.0.0.1", "10.96.0.1"),
		c.ca.issue("accounts", "accounts", nil),
		c.ca.issue("admin", "admin", []string{"system:masters"}),
		c.ca.issue("scheduler", "system:kube-scheduler", nil),
		c.ca.issue("controller-manager", "system:kube-controller-manager", nil),
		c.ca.issue("proxy", "system:kube-proxy", nil),
		c.ca.issue("node1", "system:node:node1", []string{"system:nodes"}, "192.0.2.11"),
		c.ca.issue("node2", "system:node:node2", []string{"system:nodes"}, "192.0.2.12"),
	)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.ca.cert)
	admin, err := tls.LoadX509KeyPair(c.ca.file("admin.crt"), c.ca.file("admin.key"))
	c.web = &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{admin}, MinVersion: tls.VersionTLS12},
	}}
	return err
}

// control starts the control plane.
func (c *cluster) control() error {
	for _, command := range [][]string{
		{"etcd", "--data-dir", dir + "/etcd", "--unsafe-no-fsync"},
		{
			"kube-apiserver", "--etcd-servers", "http://127.0.0.1:2379", "--advertise-address", "192.0.2.1",
			"--tls-cert-file", c.ca.file("apiserver.crt"), "--tls-private-key-file", c.ca.file("apiserver.key"),
			"--client-ca-file", c.ca.file("ca.crt"), "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
			"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", c.ca.file("accounts.key"),
			"--service-account-signing-key-file", c.ca.file("accounts.key"), "--service-cluster-ip-range", "10.96.0.0/24",
			"--kubelet-certificate-authority", c.ca.file("ca.crt"), "--kubelet-client-certificate", c.ca.file("admin.crt"),
			"--kubelet-client-key", c.ca.file("admin.key"), "--kubelet-preferred-address-types", "InternalIP", "--cert-dir", dir + "/apiserver",
		},
		{"kube-scheduler", "--kubeconfig", c.ca.file("scheduler.conf"), "--leader-elect=false"},
		{
			"kube-controller-manager", "--kubeconfig", c.ca.file("controller-manager.conf"), "--leader-elect=false",
			"--use-service-account-credentials", "--service-account-private-key-file", c.ca.file("accounts.key"),
			"--root-ca-file", c.ca.file("ca.crt"), "--cert-dir", dir + "/controller-manager",
		},
	} {
		p, err := run(command[0], append([]string{program(command[0])}, command[1:]...)...)
		if err != nil {
			return err
		}
		c.master = append(c.master, p)
		if command[0] == "kube-apiserver" {
			err = wait(func() error { return c.get("/readyz", nil) })
		}
		if err != nil {
			return fmt.Errorf("%s: %w", command[0], err)
		}
	}
	return nil
}

// ready tells of nodes that are not, and of what every pod needs.
func (c *cluster) ready() error {
	if err := c.get("/api/v1/namespaces/default/serviceaccounts/default", nil); err != nil {
		return err
	}
	for _, n := range c.nodes {
		o, err := c.object("/api/v1/nodes/" + n.name)
		if err == nil && !o.has("Ready", "True") {
			err = fmt.Errorf("%s is %v", n.name, o.Status.Conditions)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end stops everything; no pods are left on the nodes.
func (c *cluster) end() (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, n.end())
	}
	for _, p := range slices.Backward(c.master) {
		err = errors.Join(err, p.stop(syscall.SIGTERM))
	}
	return err
}

func (c *cluster) checkNothingLeft() (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, kubetest.CheckEmpty(n.dir+"/state", n.dir+"/run"))
	}
	return errors.Join(err, kubetest.RemoveCgroup(c.cgroup))
}

// logs is a variable of the environment: a directory where all logs of each run are kept.
const logs = "SIFLET_CLUSTER_LOGS"

// tell writes what there is to know about a failure, or keeps all of it.
func (c *cluster) tell(w io.Writer) error {
	if kept := os.Getenv(logs); kept != "" {
		run, err := os.MkdirTemp(kept, "run-")
		if err != nil {
			return err
		}
		return os.CopyFS(run, os.DirFS(dir+"/logs"))
	}
	names, err := filepath.Glob(logOf("*"))
	for _, name := range names {
		text, failed := os.ReadFile(name)
		text = text[max(0, len(text)-8<<10):]
		_, _ = fmt.Fprintf(w, "the end of %s: %v\n%s\n", name, failed, text)
	}
	return err
}
