package systemd_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/siflet/siflet/test/siftest"
)

// TestLimitsOfAUser gives limits to what somebody runs who is not root, in a control group
// that systemd has delegated to them.
func TestLimitsOfAUser(t *testing.T) {
	setUp(t)
	install(t, siftest.Options{Busybox: true}, "/data/containers/bb.sif")
	must(t, os.Chmod("/dev/fuse", 0o666)) // as udev does
	const home = "/tmp/user-of-limits"
	must(t, os.Mkdir(home, 0o755))
	must(t, os.Chown(home, 20001, 20001))
	for file, line := range map[string]string{"/etc/passwd": "user:x:20001:20001::" + home + ":/bin/sh\n", "/etc/group": "user:x:20001:\n"} {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		must(t, err)
		_, err = f.WriteString(line)
		must(t, errors.Join(err, f.Close()))
	}
	asUser := func(script string) string {
		return run(t, "systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--uid=20001", "--gid=20001", "-p", "Delegate=yes",
			"-E", "HOME="+home, "-E", "USER=user", "--working-directory="+home, "/bin/sh", "-ec", script)
	}
	const limits = `cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat memory.max pids.max`
	// The shell is in the service's own group, which could give on no limits with it.
	got := asUser("exec " + siflet + " exec --memory 64M --pids-limit 50 /data/containers/bb.sif sh -c '" + limits + "'")
	if got != "67108864\n50\n" {
		t.Errorf("limits of a command: %q", got)
	}
	got = asUser("exec " + siflet + " instance start --memory 64M /data/containers/bb.sif limited && sleep 1000")
	if !strings.Contains(got, "instance started successfully") {
		t.Errorf("start: %s", got)
	}
}
