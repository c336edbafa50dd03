package cri_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// configured starts an agent with a configuration file. reload rewrites the file, sends
// SIGHUP and waits until the agent's log says want.
func configured(t *testing.T, text string) (a *agent, reload func(text, want string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	a = start(t, "--config", file)
	return a, func(text, want string) {
		t.Helper()
		write(text)
		before := len(a.log.String())
		if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, want, func() bool { return strings.Contains(a.log.String()[before:], want) })
	}
}

// settings is the configuration in force.
func (a *agent) settings() string {
	a.t.Helper()
	got, err := a.Status(within(a.t), &criapi.StatusRequest{Verbose: true})
	if err != nil {
		a.t.Fatal(err)
	}
	return got.Info["config"]
}

func TestSIGHUPReadsTheConfigurationAgain(t *testing.T) {
	a, reload := configured(t, "metrics_listen = \"127.0.0.1:19213\"\nbridge = \"siftest0\"\n")
	metrics := func(port string) error {
		r, err := http.Get("http://127.0.0.1:" + port + "/metrics")
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
		}
		return err
	}
	if err := metrics("19213"); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(policy, []byte("default = \"reject\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	reload("metrics_listen = \"127.0.0.1:19214\"\nbridge = \"other0\"\nlog_format = \"json\"\npolicy = \""+policy+"\"\n", `need a restart`)
	if err := metrics("19214"); err != nil {
		t.Error(err)
	}
	if metrics("19213") == nil {
		t.Error("metrics are served on the old address still")
	}
	a.logs(`"changed":"log_format metrics_listen policy"`, `"keys":"bridge"`)
	for _, want := range []string{`"bridge":"siftest0"`, `"log_format":"json"`, `"metrics_listen":"127.0.0.1:19214"`} {
		if got := a.settings(); !strings.Contains(got, want) {
			t.Errorf("settings = %s, want %s in them", got, want)
		}
	}
	pod, p := a.hostPod("p")
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{
		PodSandboxId: pod, Config: containerConfig("c", busybox(t), "true"), SandboxConfig: p,
	})
	if err == nil || !strings.Contains(err.Error(), policy) {
		t.Errorf("CreateContainer = %v, want the new policy's refusal", err)
	}
}

func TestABrokenConfigurationChangesNothing(t *testing.T) {
	a, reload := configured(t, "metrics_listen = \"127.0.0.1:19213\"\nlog_format = \"text\"\n")
	before := a.settings()
	reload("log_format = \"json\"\nmetrics_listen = \"127.0.0.1:19215\"\ncolour = 1\nbridge = 2\n", `config.toml:4: bridge: 2`)
	a.logs("config.toml:3: unknown key", "everything is as it was")
	reload("log_format = \"json\"\nmetrics_listen = \n", "config.toml:2: ")
	reload("log_format = \"json\"\nlog_level = \"warn\"\nlog_format = \"text\"\n", "config.toml:3: log_format: is set in line 1 already")
	// What can be known only when it is tried changes nothing else either.
	reload("log_format = \"json\"\nmetrics_listen = \"203.0.113.9:1\"\n", "203.0.113.9:1: bind")
	if got := a.settings(); got != before {
		t.Errorf("settings = %s, want %s", got, before)
	}
	if r, err := http.Get("http://127.0.0.1:19213/metrics"); err != nil {
		t.Error(err)
	} else {
		_ = r.Body.Close()
	}
}
