package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix" //nolint:depguard // for the names of namespaces and capabilities

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

const argv0 = "siflet instance: test"

// TestMain lets the test's own binary be siflet-instance.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case argv0, supervisor.StageName, supervisor.InitName:
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// instance is a supervisor of this command and a root directory for its containers.
type instance struct {
	dir, root string
	client    *supervisor.Client
	pid       int
	init      int
}

func startInstance(t *testing.T, cfg supervisor.Config) *instance {
	t.Helper()
	needCap(t, unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
	in := &instance{dir: t.TempDir(), root: busyboxRoot(t)}
	file, err := supervisor.OpenBinary("/proc/self/exe")
	must(t, err)
	t.Cleanup(func() { must(t, file.Close()) })
	cfg.ID, cfg.Dir = "test", in.dir
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	process, err := supervisor.Spawn(ctx, file, cfg, supervisor.SpawnAttr{
		CloneFlags: unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, Argv0: argv0, Stderr: os.Stderr,
	})
	must(t, err)
	in.pid, in.init = process.PID, process.Hello.InitPID
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := in.client.Shutdown(ctx); err != nil && !errors.Is(err, supervisor.ErrGone) {
			t.Errorf("Shutdown: %v", err)
		}
		must(t, process.Wait(ctx))
	})
	in.client, err = supervisor.Dial(ctx, in.dir)
	must(t, err)
	return in
}

func needCap(t *testing.T, capability int, name string) {
	t.Helper()
	header, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	must(t, unix.Capget(&header, &data[0]))
	if data[capability/32].Effective&(1<<(capability%32)) == 0 {
		t.Skipf("needs %s", name)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func busyboxRoot(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs a static busybox")
	}
	root := t.TempDir()
	for _, d := range []string{"bin", "proc", "tmp", "dev"} {
		must(t, os.Mkdir(filepath.Join(root, d), 0o755))
	}
	data, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755))
	for _, name := range []string{"sh", "sleep", "cat", "chmod", "ls", "readlink"} {
		must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	return root
}

// program is that of a container with a shell script.
func (in *instance) program(script string) *program.Program {
	return &program.Program{
		Version:    program.Version,
		Namespaces: program.Namespaces{PID: program.PIDContainer},
		Root:       program.Root{Dir: in.root},
		Mounts:     []program.Mount{{Type: "proc", Target: "/proc"}},
		Process:    program.Process{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}},
	}
}

func (in *instance) start(t *testing.T, id string, p *program.Program) {
	t.Helper()
	doc, err := json.Marshal(p)
	must(t, err)
	_, err = in.client.Start(t.Context(), id, supervisor.StartRequest{
		Program: doc, PID: p.Namespaces.PID, Cgroup: p.Cgroup,
		Log: supervisor.LogConfig{Out: filepath.Join(in.dir, id+".log"), Err: filepath.Join(in.dir, id+".log")},
	})
	must(t, err)
}

// run starts a container and returns what it wrote when it has ended.
func (in *instance) run(t *testing.T, p *program.Program) string {
	t.Helper()
	in.start(t, "run", p)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := in.client.Wait(ctx, "run")
	must(t, err)
	must(t, in.client.Forget(ctx, "run"))
	text, err := os.ReadFile(filepath.Join(in.dir, "run.log"))
	must(t, err)
	return strings.TrimSpace(string(text))
}
