package cri_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPodsOutliveAKilledAgent(t *testing.T) {
	a := start(t)
	c := podConfig(a, "p")
	pod := a.pod(c)
	image := busybox(t)
	stays := a.launch(pod, containerConfig("stays", image, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"), c)
	ends := a.launch(pod, containerConfig("ends", image, "sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo last; exit 5"), c)
	before, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	info, err := a.ContainerStatus(within(t), &criapi.ContainerStatusRequest{ContainerId: ends, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	path := info.Status.LogPath
	a.execSync(ends, "touch", "/go")

	a.end(syscall.SIGKILL)
	eventually(t, "the log to be written without an agent", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "stdout F last\n")
	})
	a.run()

	after, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || after.Status.State != criapi.PodSandboxState_SANDBOX_READY || after.Status.Network.Ip != before.Status.Network.Ip {
		t.Errorf("pod = %v, %v; want it ready at %s", after, err, before.Status.Network.Ip)
	}
	if s := a.exited(ends); s.ExitCode != 5 || s.Reason != "Error" {
		t.Errorf("ended container = %v, want exit code 5", s)
	}
	if s := a.status(stays); s.State != criapi.ContainerState_CONTAINER_RUNNING || s.User.GetLinux() == nil {
		t.Errorf("container = %v, want it running", s)
	}
	if out := a.execSync(stays, "echo", "hi"); string(out.Stdout) != "hi\n" {
		t.Errorf("exec wrote %q, want hi", out.Stdout)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: stays}); err != nil {
		t.Error(err)
	}
	if s := a.status(stays); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
		t.Errorf("stopped container = %v, want it killed", s)
	}
}

func TestSIGTERMLeavesPodsRunning(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	a.stop()
	a.run()
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("state = %s, want running", s.State)
	}
}

// fails runs an agent that must not start and returns what it says.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t), filepath.Join(programs, "siflet"), append([]string{"agent"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("the agent started with %q", args)
	}
	return string(out)
}

func TestStartUpErrorsSayWhatToDo(t *testing.T) {
	a := start(t)
	dir := t.TempDir()
	other := func(more ...string) []string {
		return append([]string{"--state-dir", dir + "/state", "--run-dir", dir + "/run", "--cgroup-parent", a.parent}, more...)
	}
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte("# settings\nlog_level = \"debug\"\ncolour = \"red\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"directory in use", a.flags()[1:], []string{a.dir + "/state", "used by process", "stop that agent"}},
		{"socket in use", other("--listen", "unix://"+a.socket()), []string{"socket in use", a.socket()}},
		{"no socket", other("--listen", "unix://"+plain), []string{"no socket"}},
		{"no unix address", other("--listen", "tcp://1.2.3.4:5"), []string{"unix:///path"}},
		{"missing configuration", other("--config", dir+"/none.toml"), []string{"none.toml", "no such file"}},
		{"unknown key", other("--config", config), []string{"config.toml:3", `unknown key "colour"`}},
		{"log level", other("--log-level", "loud"), []string{"--log-level", "loud"}},
		{"subnet", other("--subnet", "10.0.0.0"), []string{"--subnet", "10.0.0.0"}},
	} {
		out := fails(t, c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: says %q, want %q in it", c.name, out, want)
			}
		}
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	a := start(t)
	a.end(syscall.SIGKILL)
	if _, err := net.Dial("unix", a.socket()); err == nil {
		t.Fatal("somebody answers on the dead agent's socket")
	}
	a.run()
	if _, err := a.Version(within(t), &criapi.VersionRequest{}); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(a.socket())
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v; want mode 0660", info, err)
	}
}

func TestSettingsComeFromTheFileUnlessAFlagSaysOtherwise(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("log_level = \"error\"\nlog_format = \"json\"\nbridge = \"siftest0\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a := start(t, "--config", config)
	got, err := a.Status(within(t), &criapi.StatusRequest{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"bridge":"siftest0"`, `"log_level":"debug"`, `"log_format":"json"`} {
		if !strings.Contains(got.Info["config"], want) {
			t.Errorf("settings = %s, want %s in them", got.Info["config"], want)
		}
	}
}
