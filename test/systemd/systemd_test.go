// Package systemd_test runs instances as units of a real systemd. It is for the
// machine that "make test-systemd" boots, which nobody else uses.
package systemd_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/test/siftest"
)

// patience bounds everything that is waited for, on a machine that is emulated.
const patience = 90 * time.Second

const siflet = "/usr/local/bin/siflet"

// documented is the unit of the document that introduced instances, as written there
// but for the user.
const documented = `[Unit]
Description=Web Instance
After=network.target

[Service]
Type=forking
Restart=always
PIDFile=/run/web-instance.pid
ExecStart=/usr/local/bin/siflet instance start --pid-file /run/web-instance.pid /data/containers/web.sif web-instance
ExecStop=/usr/local/bin/siflet instance stop web-instance

[Install]
WantedBy=multi-user.target
`

// setUp installs siflet and an image where units name them.
func setUp(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Getenv("SIFLET_BIN") == "" {
		t.Skip("systemd does not run this machine, or SIFLET_BIN is not set: see make test-systemd")
	}
	for _, name := range []string{"siflet", "siflet-agent", "siflet-instance", "siflet-action", "siflet-fuse"} {
		to := filepath.Join("/usr/local/bin", name)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		run(t, "cp", filepath.Join(os.Getenv("SIFLET_BIN"), name), to)
	}
	t.Setenv("HOME", "/root")
	must(t, os.MkdirAll("/data/containers", 0o755))
	install(t, siftest.Web("hello from a unit\n"), "/data/containers/web.sif")
}

func install(t *testing.T, o siftest.Options, to string) {
	t.Helper()
	text, err := os.ReadFile(siftest.Build(t, o))
	must(t, err)
	must(t, os.WriteFile(to, text, 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		status, _ := exec.Command("systemctl", "status", "--no-pager", "-n", "50", "web-instance", "web", "boot").CombinedOutput()
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, status)
	}
	return string(out)
}

// within waits until ok.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			status, _ := exec.Command("systemctl", "status", "--no-pager", "-n", "50", "web-instance", "web").CombinedOutput()
			t.Fatalf("waited %s for %s\n%s", patience, what, status)
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // nobody tells
	}
}

func unit(t *testing.T, name, text string) {
	t.Helper()
	path := "/etc/systemd/system/" + name + ".service"
	must(t, os.WriteFile(path, []byte(text), 0o644))
	run(t, "systemctl", "daemon-reload")
	t.Cleanup(func() { _ = os.Remove(path) })
	run(t, "systemctl", "start", name)
}

func property(t *testing.T, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "systemctl", "show", "--value", "-p", name, unit))
}

func serves() bool {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://127.0.0.1:8080")
	if err != nil {
		return false
	}
	text, err := io.ReadAll(r.Body)
	return errors.Join(err, r.Body.Close()) == nil && strings.Contains(string(text), "hello from a unit")
}

// stopsCleanly stops a unit and sees that nothing is left of it.
func stopsCleanly(t *testing.T, name string) {
	t.Helper()
	run(t, "systemctl", "stop", name)
	if state, result := property(t, name, "ActiveState"), property(t, name, "Result"); state != "inactive" || result != "success" {
		t.Errorf("%s is %s, %s; want it inactive, success\n%s", name, state, result, run(t, "journalctl", "--no-pager", "-n", "30", "-u", name))
	}
	within(t, "nothing to be left", func() bool {
		out, err := exec.Command("pidof", "siflet-instance", "sinit", "httpd").Output()
		return err != nil && len(out) == 0
	})
	if list := run(t, siflet, "instance", "list"); strings.Count(list, "\n") != 1 {
		t.Errorf("instance list:\n%s", list)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/siflet/*"); len(left) > 0 {
		t.Errorf("cgroups left: %v", left)
	}
}

func kill(t *testing.T, pid string) {
	t.Helper()
	if _, err := strconv.Atoi(pid); err != nil || pid == "0" {
		t.Fatalf("no PID: %q", pid)
	}
	run(t, "/bin/busybox", "kill", "-9", pid)
}

func TestTheDocumentsUnitWorks(t *testing.T) {
	setUp(t)
	unit(t, "web-instance", documented)
	within(t, "the web server", serves)
	first := property(t, "web-instance", "MainPID")
	text, err := os.ReadFile("/run/web-instance.pid")
	must(t, err)
	if file := strings.TrimSpace(string(text)); file != first {
		t.Errorf("PID file %s, MainPID %s", file, first)
	}
	kill(t, first)
	within(t, "a start after the end", func() bool {
		pid := property(t, "web-instance", "MainPID")
		return pid != first && pid != "0" && serves()
	})
	stopsCleanly(t, "web-instance")
}

func TestGeneratedUnitsFollowTheService(t *testing.T) {
	setUp(t)
	text := run(t, siflet, "generate", "systemd", "--image", "/data/containers/web.sif", "web", "--", "--wait=8080")
	unit(t, "web", text)
	// Type=notify with --wait: it is up when the start is over.
	if !serves() {
		t.Error("the start is over and the service is not up")
	}
	if status := property(t, "web", "StatusText"); status != "instance web runs" {
		t.Errorf("StatusText is %q", status)
	}
	restarts := func(n string) func() bool {
		return func() bool {
			return property(t, "web", "NRestarts") == n && property(t, "web", "ActiveState") == "active" && serves()
		}
	}
	kill(t, strings.Fields(run(t, "pidof", "httpd"))[0])
	within(t, "a start after the service's end", restarts("1"))
	kill(t, property(t, "web", "MainPID"))
	within(t, "a start after siflet's end", restarts("2"))
	stopsCleanly(t, "web")
}
