package systemd_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/siflet/siflet/test/siftest"
)

// TestBootRunsSystemd boots an image whose programs are the machine's own.
func TestBootRunsSystemd(t *testing.T) {
	setUp(t)
	install(t, siftest.Options{Files: map[string]string{
		"bin": "-> usr/bin", "sbin": "-> usr/sbin", "lib": "-> usr/lib", "lib64": "-> usr/lib64", "usr/": "",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "var/log/": "",
		"etc/systemd/system/default.target": "[Unit]\nRequires=basic.target ready.service\nAfter=basic.target\n",
		"etc/systemd/system/ready.service": "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n" +
			"ExecStart=/usr/bin/touch /run/ready\nExecStop=/usr/bin/touch /mark/stopped\n",
	}}, "/data/containers/boot.sif")
	mark := t.TempDir()
	run(t, siflet, "instance", "start", "--boot", "--network", "none", "--bind", "/usr:/usr:ro", "--bind", mark+":/mark", "/data/containers/boot.sif", "boot")
	inside := func(args ...string) (string, error) {
		out, err := exec.Command(siflet, append([]string{"exec", "instance://boot"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	last := ""
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := exec.Command(siflet, "instance", "logs", "boot").CombinedOutput()
			journal, _ := inside("journalctl", "--no-pager", "-n", "40")
			t.Logf("%s\n%s\n%s", last, logs, journal)
		}
	})
	within(t, "the unit of the image", func() bool {
		out, err := inside("ls", "/run/ready")
		last = out
		return err == nil
	})
	for command, want := range map[string]string{
		"cat /proc/1/comm": "systemd", "hostname": "boot", "systemd-detect-virt --container": "container-other", "cat /proc/self/cgroup": "0::/init.scope",
	} {
		if got, err := inside(strings.Fields(command)...); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
	if out, err := inside("sh", "-c", "echo 1 > /proc/sys/kernel/panic"); err == nil {
		t.Errorf("the machine's settings can be changed: %s", out)
	}
	out := run(t, siflet, "instance", "stop", "--timeout", "80", "boot")
	if strings.Contains(out, "Timeout") {
		t.Errorf("systemd did not end as it was told: %s", out)
	}
	if _, err := os.Stat(mark + "/stopped"); err != nil {
		t.Errorf("its units were not stopped: %v", err)
	}
}
