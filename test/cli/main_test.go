// Package cli_test runs the command line as a person does: each script here,
// *.txtar, is a session on a machine that nobody used before. The scripts are
// documentation too.
package cli_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/siflet/siflet/test/apart"
)

// Variables that tell a run in namespaces of its own what it is about.
const (
	scriptVar = "SIFLET_CLI_TEST"        // its script
	binVar    = "SIFLET_CLI_TEST_BIN"    // where the programs are
	imageVar  = "SIFLET_CLI_TEST_IMAGES" // where the images are
)

// TestMain builds what the scripts need, or prepares the namespaces of one.
func TestMain(m *testing.M) {
	if os.Getenv(lockVar) != "" {
		fmt.Fprintln(os.Stderr, withoutLocks(os.Args[1:]))
		os.Exit(1)
	}
	if os.Getenv(askVar) != "" {
		apart.Exit(ask())
	}
	flag.Parse()
	if os.Geteuid() != 0 && os.Getenv(userVar) == "" {
		fmt.Fprintln(os.Stderr, "skipped: needs root, to make namespaces, mounts and cgroups")
		os.Exit(0)
	}
	run := outside
	if os.Getenv(scriptVar) != "" {
		run = inside
	}
	if os.Geteuid() != 0 {
		run = func(m *testing.M) (int, error) { return m.Run(), nil }
	}
	apart.Exit(run(m))
}

func outside(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "siflet-cli-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // for users
		return 1, err
	}
	bin, err := apart.Programs(filepath.Join(dir, "bin"))
	if err != nil {
		return 1, err
	}
	images := filepath.Join(dir, "images")
	if err := makeImages(images); err != nil {
		return 1, err
	}
	if err := errors.Join(os.Setenv(binVar, bin), os.Setenv(imageVar, images)); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func inside(m *testing.M) (int, error) {
	const open, closed = 0o755, 0o700
	// What a person's home holds is not the tests' business.
	if err := errors.Join(apart.Cover("/run", open), apart.Cover("/root", closed), apart.Loopback()); err != nil {
		return 1, err
	}
	if os.Getenv(userVar) != "" {
		if err := prepareUser(); err != nil {
			return 1, fmt.Errorf("prepare for a user: %w", err)
		}
	}
	return m.Run(), nil
}

// TestScripts runs every script in mount, network, IPC and UTS namespaces of its
// own, and looks for what it left behind.
func TestScripts(t *testing.T) {
	if script := os.Getenv(scriptVar); script != "" {
		runScript(t, script)
		return
	}
	for _, script := range scripts(t) {
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) { again(t, "TestScripts", scriptVar+"="+script) })
	}
}

func scripts(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return found
}

// again runs a test of this file's in namespaces of its own, with more variables.
func again(t *testing.T, test string, vars ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v="+strconv.FormatBool(testing.Verbose()))
	cmd.Env = append(os.Environ(), vars...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:    syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func runScript(t *testing.T, script string) {
	t.Helper()
	before := mounts(t)
	parent := cgroupParent()
	t.Cleanup(func() { checkNothingLeft(t, before, parent) })
	runTestscript(t, script, parent)
}

// cgroupParent is the cgroup of a script's own.
func cgroupParent() string { return fmt.Sprintf("/siflet-cli-test-%d", os.Getpid()) }

func runTestscript(t *testing.T, script, parent string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Setup: func(env *testscript.Env) error { return setUp(env, parent) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "fetch": fetch, "retry": retry, "interrupt": interrupt, "root": asRoot, "other": asOther, "nolocks": nolocks, "agent": (&agents{}).command, "cgroup": cgroup, "datagram": datagram, "registry": (&registries{t: t}).command,
		},
		Condition: condition,
	})
}

// setUp makes the environment of a script: nothing of the tests' own gets in.
func setUp(env *testscript.Env, parent string) error {
	images := os.Getenv(imageVar)
	env.Vars = []string{
		"PATH=" + os.Getenv(binVar) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm", "WORK=" + env.WorkDir, "TMPDIR=" + env.WorkDir + "/.tmp", "exe=",
		"SIFLET_CONFIGDIR=" + env.WorkDir + "/.siflet", "SIFLET_CGROUP_PARENT=" + parent,
		"SIFLET_STATE_DIR=" + env.WorkDir + "/.node", "SIFLET_RUN_DIR=/run/node",
		"IMAGES=" + images, "BB=" + images + "/bb.sif", "WEB=" + images + "/web.sif", "APPS=" + images + "/apps.sif",
	}
	if os.Geteuid() == 0 {
		env.Vars = append(env.Vars, "HOME=/root", "USER=root", "RUN=/run/siflet-0")
	} else {
		own := fmt.Sprintf("/run/user/%d", userID)
		env.Vars = append(env.Vars, "HOME=/home/"+userName, "USER="+userName, fmt.Sprintf("RUN=/tmp/siflet-%d", userID), "XDG_RUNTIME_DIR="+own)
	}
	data, err := filepath.Abs("../../../shared/testdata")
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars, "TESTDATA="+data)
	return os.MkdirAll(filepath.Join(env.WorkDir, ".tmp"), 0o755)
}

// condition knows [testdata], whether the files that others' programs made are
// there, [tool:NAME], [usernet], whether users can have networks, and who runs the script: [root] or [user].
func condition(name string) (bool, error) {
	if name == "root" || name == "user" {
		return (os.Geteuid() == 0) == (name == "root"), nil
	}
	if name == "alone" { // a user who has no range of ids
		return os.Getenv(userVar) == name, nil
	}
	if tool, ok := strings.CutPrefix(name, "tool:"); ok {
		_, err := exec.LookPath(tool)
		return err == nil, nil
	}
	if name == "usernet" {
		return canNetwork(), nil
	}
	if name == "configured" {
		entries, _ := filepath.Glob("/etc/siflet/*.toml") // a pattern that is right
		return len(entries) > 0, nil
	}
	if name != "testdata" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	_, err := os.Stat("../../../shared/testdata/svc.sif")
	return err == nil, nil
}
