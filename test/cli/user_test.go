package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// userVar tells a run in namespaces of its own that its script is an ordinary user's,
// and whether there is a "range" of ids for that user, or it is "alone".
const userVar = "SIFLET_CLI_TEST_USER"

// The users of the scripts. The first one is in a second group.
const (
	userID, otherID, teamID = 20001, 20002, 20005
	userName, otherName     = "ada", "bob"
)

// stage is where the namespaces of a user's script have what its machine needs.
const stage = "/run/siflet-test"

// forRoot are the scripts that do not run as a user, and why. Single lines have a
// [root] or [user] before them.
var forRoot = map[string]string{
	"devices":       "device nodes are made, and rules for them set, by root alone",
	"image_pull":    "the node's images are root's",
	"nolocks":       "newuidmap gets no privileges there: it runs for users without a range",
	"images":        "the node's images are root's",
	"instance_more": "other users' instances are seen by root alone",
	"network":       "the addresses of the node's bridge are given by root alone",
	"pods":          "the node agent is root's",
	"policy":        "the node's images are root's",
	"site":          "it has a user of its own",
}

// alone are the scripts that also run for a user who has no range of ids.
var alone = []string{"build", "build_killed", "build_lost", "build_owners", "build_sections", "exec", "hostile", "instances", "mounts", "nolocks", "overlay", "peers", "pull", "restart", "unpack"}

// TestScriptsAsUser runs the scripts again for a user who has no privileges.
func TestScriptsAsUser(t *testing.T) {
	if script := os.Getenv(scriptVar); script != "" {
		if os.Getenv(userVar) == "" {
			t.Skip("root's script")
		}
		if os.Geteuid() != 0 {
			runTestscript(t, script, os.Getenv("SIFLET_CGROUP_PARENT"))
			return
		}
		becomeUser(t)
		return
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("images are mounted through FUSE: %v", err)
	}
	for _, tool := range []string{"squashfuse", "newuidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("what make deps installs is not there: %v", err)
		}
	}
	for _, script := range scripts(t) {
		name := strings.TrimSuffix(script, ".txtar")
		if forRoot[name] == "" {
			t.Run(name, func(t *testing.T) { asUser(t, script, "range") })
		}
	}
	for _, name := range alone {
		t.Run(name+"_alone", func(t *testing.T) { asUser(t, name+".txtar", "alone") })
	}
}

func asUser(t *testing.T, script, ids string) {
	t.Helper()
	t.Parallel()
	again(t, "TestScriptsAsUser", scriptVar+"="+script, userVar+"="+ids, "SIFLET_CLI_TEST_DIR="+t.TempDir())
}

// becomeUser runs the test again as the user, and looks for what it left behind.
func becomeUser(t *testing.T) {
	t.Helper()
	before := mounts(t)
	parent := cgroupParent()
	t.Cleanup(func() { checkNothingLeft(t, before, parent) })
	serveRoot(t)
	// The test's own file is in a directory that is closed to others.
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestScriptsAsUser$", "-test.v="+strconv.FormatBool(testing.Verbose()))
	cmd.Env = append(os.Environ(), "SIFLET_CGROUP_PARENT="+parent)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: userID, Gid: userID, Groups: []uint32{userID, teamID}}, Pdeathsig: syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// prepareUser makes the machine that a user's script finds: accounts, a home, a run
// directory, a /tmp with nothing of others in it, and FUSE for everybody.
func prepareUser() error {
	dir := os.Getenv("SIFLET_CLI_TEST_DIR")
	for name, from := range map[string]string{"bin": os.Getenv(binVar), "images": os.Getenv(imageVar)} {
		if err := bind(from, filepath.Join(stage, name)); err != nil {
			return err
		}
	}
	own, fuse := filepath.Join(stage, "test"), filepath.Join(stage, "fuse")
	err := errors.Join(
		os.WriteFile(own, nil, 0o755), bind(os.Args[0], own),
		unix.Mknod(fuse, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))), os.Chmod(fuse, 0o666), bind(fuse, "/dev/fuse"),
		accounts(os.Getenv(userVar) == "range"),
		os.Mkdir(filepath.Join(dir, "home"), 0o755), bind(filepath.Join(dir, "home"), "/home"),
		os.Mkdir(filepath.Join(dir, "tmp"), 0o777), os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky), bind(filepath.Join(dir, "tmp"), "/tmp"),
	)
	for name, uid := range map[string]int{userName: userID, otherName: otherID} {
		for _, own := range []string{"/home/" + name, fmt.Sprintf("/run/user/%d", uid)} {
			err = errors.Join(err, os.MkdirAll(filepath.Dir(own), 0o755), os.Mkdir(own, 0o700), os.Chown(own, uid, uid))
		}
	}
	return errors.Join(err, prepareNetwork(), os.Setenv(binVar, stage+"/bin"), os.Setenv(imageVar, stage+"/images"), os.Setenv("TMPDIR", "/tmp"))
}

// accounts makes the users and, for one of them, a range of ids.
func accounts(ids bool) error {
	added := map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%[2]d::/home/%[1]s:/bin/sh\n%[3]s:x:%[4]d:%[4]d::/home/%[3]s:/bin/sh\n", userName, userID, otherName, otherID),
		"group":  fmt.Sprintf("%s:x:%d:\n%s:x:%d:\nteam:x:%d:%[1]s\n", userName, userID, otherName, otherID, teamID),
		"subuid": "", "subgid": "",
	}
	if ids {
		added["subuid"] = fmt.Sprintf("%s:300000:65536\n%s:400000:65536\n", userName, otherName)
		added["subgid"] = added["subuid"]
	}
	for name, lines := range added {
		text, err := os.ReadFile("/etc/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the machine has no ranges
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "sub") {
			text = nil
		}
		own := filepath.Join(stage, name)
		if err := errors.Join(os.WriteFile(own, append(text, lines...), 0o644), bind(own, "/etc/"+name)); err != nil {
			return err
		}
	}
	return nil
}

// bind mounts what is at one path at another. That of a directory is made.
func bind(from, to string) error {
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}
