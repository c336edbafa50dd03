package cri_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// patience bounds everything a test waits for.
const patience = time.Minute

// agent is a running agent with directories of its own, and a client of it.
type agent struct {
	t       *testing.T
	dir     string
	parent  string // cgroup
	args    []string
	plugins string // of CNI, in tests that have some
	cmd     *exec.Cmd
	log     *output
	conn    *grpc.ClientConn

	criapi.RuntimeServiceClient
	images criapi.ImageServiceClient
}

// output collects what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is all so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start starts an agent. At the test's end its pods are removed, it is stopped,
// and nothing of it may be left.
func start(t *testing.T, args ...string) *agent {
	t.Helper()
	// A socket's path has to be short, and an upper layer needs a tmpfs.
	dir, err := os.MkdirTemp("/run", "a") //nolint:usetesting // t.TempDir is neither
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, dir: dir, parent: "/siflet-cri-test-" + filepath.Base(dir) + strconv.Itoa(os.Getpid()), args: args}
	a.run()
	t.Cleanup(func() {
		a.removeAll()
		a.stop()
		a.checkNothingLeft()
		if t.Failed() {
			t.Logf("agent's log:\n%s", a.log)
		}
	})
	return a
}

func (a *agent) flags() []string {
	return append([]string{
		"agent", "--state-dir", a.dir + "/state", "--run-dir", a.dir + "/run", "--cgroup-parent", a.parent,
		"--cni-conf-dir", a.dir + "/cni", "--log-level", "debug",
	}, a.args...)
}

func (a *agent) socket() string { return a.dir + "/run/siflet.sock" }

// run starts the agent's process and waits until it serves.
func (a *agent) run() {
	a.t.Helper()
	a.log = &output{}
	a.cmd = exec.Command(filepath.Join(programs, "siflet"), a.flags()...)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: a.dir + "/notify", Net: "unixgram"})
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = errors.Join(notify.Close(), os.Remove(a.dir+"/notify")) }()
	a.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+a.dir+"/notify")
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	buffer := make([]byte, 64)
	_ = notify.SetReadDeadline(time.Now().Add(patience))
	if n, err := notify.Read(buffer); err != nil || string(buffer[:n]) != "READY=1" {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		a.t.Fatalf("the agent did not say that it is ready: %q, %v\n%s", buffer[:n], err, a.log)
	}
	a.dial()
}

// dial makes a client of the agent.
func (a *agent) dial() {
	a.t.Helper()
	var err error
	a.conn, err = grpc.NewClient("unix://"+a.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		a.t.Fatal(err)
	}
	a.RuntimeServiceClient, a.images = criapi.NewRuntimeServiceClient(a.conn), criapi.NewImageServiceClient(a.conn)
}

// logs waits until the agent's log has all of these.
func (a *agent) logs(wants ...string) {
	a.t.Helper()
	for _, want := range wants {
		eventually(a.t, "the log to say "+want, func() bool { return strings.Contains(a.log.String(), want) })
	}
}

// end ends the agent's process.
func (a *agent) end(sig syscall.Signal) {
	a.t.Helper()
	_ = a.conn.Close()
	if err := a.cmd.Process.Signal(sig); err != nil {
		a.t.Error(err)
	}
	err := a.cmd.Wait()
	if err != nil && sig == syscall.SIGTERM {
		a.t.Errorf("agent ended with %v, want success; its log:\n%s", err, a.log)
	}
}

func (a *agent) stop() { a.end(syscall.SIGTERM) }

func (a *agent) removeAll() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pods, err := a.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		a.t.Errorf("list pods: %v", err)
		return
	}
	for _, p := range pods.Items {
		if _, err := a.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			a.t.Errorf("remove pod: %v", err)
		}
	}
}

// checkNothingLeft looks for what pods could leave behind.
func (a *agent) checkNothingLeft() {
	a.t.Helper()
	for _, dir := range []string{a.dir + "/state/instances", a.dir + "/run/instances", "/run/netns"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.t.Error(err)
		}
		for _, e := range entries {
			a.t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		a.t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, a.dir) {
			a.t.Errorf("left behind: mount %s", line)
		}
	}
	a.checkNoProcess()
	a.checkNoCgroup()
	if err := os.RemoveAll(a.dir); err != nil {
		a.t.Error(err)
	}
}

func (a *agent) checkNoProcess() {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		a.t.Error(err)
	}
	for _, name := range names {
		text, _ := os.ReadFile(name) // processes come and go
		if bytes.Contains(text, []byte(a.dir)) {
			a.t.Errorf("left behind: process %s", bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
		}
	}
}

// checkNoCgroup removes the agent's own group, which fails if there is one in it.
func (a *agent) checkNoCgroup() {
	roots, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		a.t.Error(err)
	}
	for _, root := range append(roots, "/sys/fs/cgroup") {
		err := os.Remove(root + a.parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			a.t.Errorf("left behind: cgroup: %v", err)
		}
	}
}

// within is a context for one call.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for: %s", patience, what)
		}
	}
}

// lines reads a stream's lines until it ends.
func lines(r io.Reader) []string {
	text, _ := io.ReadAll(r) // a stream may end any way
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}
