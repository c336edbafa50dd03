// Package cluster_test runs a cluster: its control plane and two nodes, each a
// kubelet, a kube-proxy and an agent in a network of its own: "make test-cluster".
package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/apart"
	"github.com/siflet/siflet/test/kubetest"
)

// role says in its environment what a process of this program is: begun by hand,
// the first one of a process namespace, or the one that runs the tests in there.
// Its value begins with that and ends with the cgroup of all.
const role = "SIFLET_CLUSTER_TEST"

var (
	// programs is the directory of siflet's programs, kubernetes that of Kubernetes' and etcd.
	programs, kubernetes string
	// site is the cluster of all tests.
	site *cluster
)

// TestMain runs the tests once more in namespaces of their own, with an empty /run,
// /var/log and /var/lib. With the namespace of processes everything ends that was started
// there, however the tests end.
func TestMain(m *testing.M) {
	flag.Parse()
	programs, kubernetes = os.Getenv("SIFLET_BIN"), os.Getenv("SIFLET_CLUSTER")
	if os.Geteuid() != 0 || programs == "" || kubernetes == "" {
		fmt.Fprintln(os.Stderr, "skipped: needs root, siflet's programs in SIFLET_BIN and those of Kubernetes in SIFLET_CLUSTER: see make test-cluster")
		os.Exit(0)
	}
	var status int
	var err error
	switch part, cgroup, _ := strings.Cut(os.Getenv(role), " "); part {
	case "":
		status, err = outside()
	case "first":
		status, err = first(cgroup)
	default:
		status, err = inside(m, cgroup)
	}
	apart.Exit(status, err)
}

func outside() (int, error) {
	cgroup := "/siflet-cluster-test-" + strconv.Itoa(os.Getpid())
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	again := exec.CommandContext(interrupted, os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), role+"=first "+cgroup)
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		Cloneflags:   syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	err := again.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), kubetest.RemoveCgroup(cgroup)
	}
	return 0, errors.Join(err, kubetest.RemoveCgroup(cgroup))
}

// first is the first process of its namespace: it waits for all that nobody else
// waits for, and ends with the tests.
func first(cgroup string) (int, error) {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return 1, fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.Setenv(role, "inside "+cgroup); err != nil {
		return 1, err
	}
	tests, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 1, err
		}
		if pid == tests.Pid {
			return max(status.ExitStatus(), -status.ExitStatus()), nil
		}
	}
}

func inside(m *testing.M, cgroup string) (status int, err error) {
	if err := errors.Join(mounts(), network()); err != nil {
		return 1, err
	}
	site, err = begin(cgroup)
	if err == nil {
		status = m.Run()
		err = wait(site.workloadsGone)
	}
	err = errors.Join(err, site.end())
	if err != nil || status != 0 || os.Getenv(logs) != "" {
		err = errors.Join(err, site.tell(os.Stderr))
	}
	return status, errors.Join(err, site.checkNothingLeft())
}

// mounts lets what the kubelets mount for pods come to the agents, as on a
// machine: both have these mounts, and share them.
func mounts() error {
	for _, dir := range []string{"/run", "/var/log", "/var/lib", "/var/lib/kubelet"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), apart.Cover(dir, 0o755)); err != nil {
			return err
		}
	}
	return syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, "")
}

// machines is the network of the control plane and two nodes, each of which knows
// where the other's pods are. It is there as long as the namespaces are.
const machines = `set -e
ip link set lo up
ip link add site type bridge
ip addr add 192.0.2.1/24 dev site
ip link set site up
for n in 1 2; do
	ip netns add node$n
	ip link add up$n type veth peer name eth0 netns node$n
	ip link set up$n master site up
	ip -n node$n link set lo up
	ip -n node$n addr add 192.0.2.1$n/24 dev eth0
	ip -n node$n link set eth0 up
	ip -n node$n route add default via 192.0.2.1
	ip -n node$n route add 10.244.$((3-n)).0/24 via 192.0.2.1$((3-n))
	ip netns exec node$n sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
done`

func network() error {
	if text, err := exec.Command("sh", "-c", machines).CombinedOutput(); err != nil {
		return fmt.Errorf("network of the test: %w: %s", err, text)
	}
	return nil
}

func program(name string) string { return filepath.Join(kubernetes, name) }
