package systemd_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/siflet/siflet/test/siftest"
)

// home is the user's.
const home = "/tmp/user-of-limits"

// TestLimitsOfAUser gives limits to what somebody runs who is not root, in a control group
// that systemd has delegated to them.
func TestLimitsOfAUser(t *testing.T) {
	setUp(t)
	install(t, siftest.Options{Busybox: true}, "/data/containers/bb.sif")
	must(t, os.Chmod("/dev/fuse", 0o666)) // as udev does
	addUser(t)
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

// addUser makes an account.
func addUser(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(home, 0o755); errors.Is(err, os.ErrExist) {
		return
	}
	must(t, os.Chown(home, 20001, 20001))
	for file, line := range map[string]string{"/etc/passwd": "user:x:20001:20001::" + home + ":/bin/sh\n", "/etc/group": "user:x:20001:\n"} {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		must(t, err)
		_, err = f.WriteString(line)
		must(t, errors.Join(err, f.Close()))
	}
}

// TestLimitsInASession gives limits to what is started where nothing is delegated, by way of
// the user's own systemd: it makes a scope, which ends with what is in it.
func TestLimitsInASession(t *testing.T) {
	inSession := session(t)
	scopes := func() string {
		return inSession("systemctl --user list-units --all --plain --no-legend 'siflet-*.scope'")
	}
	const limits = `cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat memory.max pids.max; pwd`
	got := inSession(siflet + " exec --memory 64M --pids-limit 50 /data/containers/sleep.sif sh -c '" + limits + "'")
	if !strings.HasPrefix(got, "67108864\n50\n/sys/fs/cgroup/user.slice/user-20001.slice/user@20001.service/app.slice/siflet-") {
		t.Errorf("limits of a command: %q", got)
	}
	within(t, "the command's scope to end", func() bool { return scopes() == "" })
	// A limit holds.
	got = inSession(siflet + " exec --memory 32M /data/containers/sleep.sif sh -c 'head -c 104857600 /dev/zero | tail >/dev/null' || echo status $?")
	if !strings.Contains(got, "status ") {
		t.Errorf("more memory than there is to be had: %q", got)
	}
	got = inSession(siflet + " instance start --memory 64M --pids-limit 40 /data/containers/sleep.sif scoped")
	if !strings.Contains(got, "instance started successfully") {
		t.Errorf("start: %s", got)
	}
	if got = inSession(siflet + " exec instance://scoped sh -c '" + limits + "'"); !strings.HasPrefix(got, "max\n40\n") && !strings.HasPrefix(got, "67108864\n40\n") {
		t.Errorf("limits in an instance: %q", got)
	}
	if got = inSession(siflet + " instance stats --no-stream scoped"); !strings.Contains(got, "64MiB") {
		t.Errorf("statistics: %q", got)
	}
	if scopes() == "" {
		t.Error("the instance has no scope")
	}
	inSession(siflet + " instance stop scoped")
	within(t, "the instance's scope to end", func() bool { return scopes() == "" })
	if _, err := exec.LookPath("pasta"); err != nil {
		return
	}
	// What speaks for it on the network is in there too. Old versions want to see one.
	run(t, "sh", "-ec", "ip link add d0 type dummy; ip addr add 192.0.2.1/24 dev d0; ip link set d0 up; ip route add default via 192.0.2.254")
	must(t, os.Chmod("/dev/net/tun", 0o666)) // as udev does
	inSession(siflet + " instance start --net --pids-limit 40 /data/containers/sleep.sif net")
	got = inSession("cat $(grep -l '^siflet.network' /proc/[0-9]*/cmdline | sed 's/cmdline$/cgroup/')")
	if !strings.Contains(got, ".scope/siflet-") || strings.Count(got, "\n") != 1 {
		t.Errorf("the keeper of the network is in %s", got)
	}
	inSession(siflet + " instance stop net")
	within(t, "its scope to end", func() bool { return scopes() == "" })
}

// TestWhatIsOldIsRemovedButForRunDirectories looks at what cleans /tmp.
func TestWhatIsOldIsRemovedButForRunDirectories(t *testing.T) {
	inSession := session(t)
	inSession(siflet + " instance start /data/containers/sleep.sif kept")
	// What is old is removed from /tmp, but not what a lock is on.
	must(t, os.MkdirAll("/tmp/old/dir", 0o755))
	run(t, "sh", "-ec", `cd /tmp; echo 'd /tmp 1777 root root 0' >/run/clean.conf
		for f in * .[!.]*; do case $f in siflet-20001|old) ;; *) echo "x /tmp/$f" >>/run/clean.conf ;; esac; done
		systemd-tmpfiles --clean /run/clean.conf`)
	if _, err := os.Stat("/tmp/old"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing was cleaned: %v", err)
	}
	if _, err := os.Stat("/tmp/siflet-20001/configdir"); err != nil {
		t.Error(err)
	}
	inSession(siflet + " exec instance://kept true")
	inSession(siflet + " instance stop kept")
}

// session logs the user in, and returns what runs a script there.
func session(t *testing.T) (inSession func(script string) string) {
	t.Helper()
	setUp(t)
	install(t, siftest.Options{Busybox: true, Startscript: "exec sleep 1000"}, "/data/containers/sleep.sif")
	must(t, os.Chmod("/dev/fuse", 0o666)) // as udev does
	addUser(t)
	// What a log-in does, where there is no PAM.
	must(t, os.MkdirAll("/etc/systemd/system/user@.service.d", 0o755))
	must(t, os.WriteFile("/etc/systemd/system/user@.service.d/test.conf", []byte("[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"), 0o644))
	run(t, "systemctl", "daemon-reload")
	run(t, "systemctl", "start", "user@20001.service")
	t.Cleanup(func() {
		if out, err := exec.Command("systemctl", "stop", "user@20001.service").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return func(script string) string {
		return run(t, "systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--uid=20001", "--gid=20001", "-p", "KillMode=none",
			"-E", "HOME="+home, "-E", "USER=user", "-E", "XDG_RUNTIME_DIR=/run/user/20001", "--working-directory="+home, "/bin/sh", "-ec", script)
	}
}
