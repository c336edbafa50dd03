package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// instance is a supervisor of a built siflet-instance.
type instance struct {
	dir    string
	root   string
	cgroup program.Cgroup
	client *supervisor.Client
	proc   *supervisor.Process
}

const newInstance = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

func buildInstance(tb testing.TB) (binary, root string) {
	tb.Helper()
	needCaps(tb, unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
	return build(tb, "siflet-instance"), busyboxRoot(tb)
}

func busyboxRoot(tb testing.TB) string {
	tb.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		tb.Skip("needs a static busybox")
	}
	root := filepath.Join(tb.TempDir(), "root")
	for _, d := range []string{"bin", "proc", "tmp", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755); err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "cat", "echo", "seq", "stty", "kill", "ps", "true", "tail", "setsid", "dd", "head", "hostname", "df", "tty"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

// spawnInstance starts a supervisor and ends it with the test.
func spawnInstance(tb testing.TB, binary, root string, cfg supervisor.Config) *instance {
	tb.Helper()
	in := &instance{dir: tb.TempDir(), root: root}
	cfg.ID, cfg.Dir = filepath.Base(in.dir), in.dir
	file, err := supervisor.OpenBinary(binary)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	in.proc, err = supervisor.Spawn(ctx, file, cfg, supervisor.SpawnAttr{
		CloneFlags: newInstance, Argv0: "siflet instance: test", Stderr: os.Stderr,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.client.Shutdown(ctx); err != nil && !errors.Is(err, supervisor.ErrGone) {
			tb.Errorf("Shutdown: %v", err)
		}
		if err := in.proc.Wait(ctx); err != nil && ctx.Err() != nil {
			tb.Errorf("the supervisor did not end: %v", err)
			_ = in.proc.Kill()
		}
	})
	if in.client, err = supervisor.Dial(ctx, in.dir); err != nil {
		tb.Fatal(err)
	}
	return in
}

// withCgroup gives the instance's containers a cgroup that counts OOM kills: of
// v2, or of v1's memory hierarchy. It skips the test where there is neither.
func (in *instance) withCgroup(tb testing.TB, limit string) {
	tb.Helper()
	const mount = "/sys/fs/cgroup"
	name := "/supervisor-test-" + filepath.Base(in.dir) + filepath.Base(filepath.Dir(in.dir))
	dir, limitFile := mount+"/memory"+name, "/memory.limit_in_bytes"
	var fs unix.Statfs_t
	v2 := unix.Statfs(mount, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
	if v2 {
		dir, limitFile = mount+name, "/memory.max"
		if err := os.WriteFile(mount+"/cgroup.subtree_control", []byte("+memory"), 0o644); err != nil {
			tb.Skipf("needs the memory controller: %v", err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Skipf("needs a memory cgroup: %v", err)
	}
	tb.Cleanup(func() {
		in.shutdown(tb)
		if err := os.Remove(dir); err != nil {
			tb.Errorf("cgroup is left over: %v", err)
		}
	})
	if limit != "" {
		if err := os.WriteFile(dir+limitFile, []byte(limit), 0o644); err != nil {
			tb.Skipf("needs a memory limit: %v", err)
		}
	}
	procs := dir + "/cgroup.procs"
	in.cgroup = program.Cgroup{Join: []string{procs}, Procs: procs, OOM: dir + "/memory.oom_control"}
	if v2 {
		in.cgroup.Dir, in.cgroup.Kill, in.cgroup.OOM = dir, dir+"/cgroup.kill", dir+"/memory.events"
	}
}

func (in *instance) shutdown(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := in.client.Shutdown(ctx); err != nil && !errors.Is(err, supervisor.ErrGone) {
		tb.Errorf("Shutdown: %v", err)
	}
}

func (in *instance) program(mode program.PIDMode, args ...string) *program.Program {
	return &program.Program{
		Version:    program.Version,
		Cgroup:     in.cgroup,
		Namespaces: program.Namespaces{PID: mode},
		Root:       program.Root{Dir: in.root},
		Mounts: []program.Mount{
			{Type: "proc", Target: "/proc"},
			{Type: "tmpfs", Target: "/tmp", Data: "mode=1777"},
			{Type: "devpts", Target: "/dev/pts", Data: "newinstance,ptmxmode=0666,mode=0620"},
		},
		Devices: []program.Device{
			{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, Mode: 0o666},
			{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5, Mode: 0o666},
		},
		Process: program.Process{Args: args, Env: []string{"PATH=/bin"}},
	}
}

func encode(tb testing.TB, p *program.Program) json.RawMessage {
	tb.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func (in *instance) request(tb testing.TB, id string, p *program.Program) supervisor.StartRequest {
	tb.Helper()
	return supervisor.StartRequest{
		Program: encode(tb, p), PID: p.Namespaces.PID, Target: p.Namespaces.Target, Cgroup: p.Cgroup,
		ExitFile: filepath.Join(in.dir, id+".exit.json"),
		Log:      supervisor.LogConfig{CRI: in.log(id)},
		Terminal: p.Process.Terminal,
	}
}

func (in *instance) log(id string) string { return filepath.Join(in.dir, id+".log") }

// start starts a container with a PID namespace of its own.
func (in *instance) start(tb testing.TB, id string, args ...string) int {
	tb.Helper()
	return in.startProgram(tb, id, in.program(program.PIDContainer, args...))
}

func (in *instance) startProgram(tb testing.TB, id string, p *program.Program) int {
	tb.Helper()
	pid, err := in.client.Start(deadline(tb), id, in.request(tb, id, p))
	if err != nil {
		tb.Fatalf("Start: %v", err)
	}
	return pid
}

func (in *instance) wait(tb testing.TB, id string) supervisor.Exit {
	tb.Helper()
	e, err := in.client.Wait(deadline(tb), id)
	if err != nil {
		tb.Fatalf("Wait: %v", err)
	}
	return e
}

// text is what a container's log says, without times and tags.
func (in *instance) text(tb testing.TB, id string) string {
	tb.Helper()
	b, err := os.ReadFile(in.log(id))
	if err != nil {
		tb.Fatal(err)
	}
	return logText(tb, b)
}

func logText(tb testing.TB, b []byte) string {
	tb.Helper()
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			tb.Fatalf("log line %q", line)
		}
		out.WriteString(f[3])
		if f[2] == "F" {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func deadline(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// await polls for what no event tells.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx := deadline(tb)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s did not happen", what)
		}
	}
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestSupervisor(t *testing.T) {
	binary, root := buildInstance(t)
	spawn := func(t *testing.T) *instance {
		t.Helper()
		return spawnInstance(t, binary, root, supervisor.Config{
			Hostname: "web", SharedPID: true, SharedMemory: 1 << 20, Loopback: true,
		})
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *instance)
	}{
		{"ReportsExitCodes", testExitCodes},
		{"RecordsTheExitBeforeTelling", testRecordsExit},
		{"ReportsFailedStartsAndLeavesNothing", testFailedStart},
		{"LogsBothStreams", testLogs},
		{"SetsUpTheInstance", testSetup},
		{"SharesMemoryBetweenContainers", testSharedMemory},
		{"DoesNotWaitForAGrandchildsOutput", testGrandchild},
		{"RunsExecs", testExec},
		{"GivesExecsATerminal", testExecTerminal},
		{"KillsTheTreeOfAnExecAtItsTimeout", testExecTimeout},
		{"KillsTheTreeOfAnExecWhoseClientLeft", testExecClientLeft},
		{"ReportsOOM", testOOM},
		{"AttachesManyClients", testAttach},
		{"ClosesStdinOnce", testStdinOnce},
		{"KeepsStdinOpenOtherwise", testStdinKept},
		{"OutlivesAStuckClient", testStuckClient},
		{"RunsAContainerOnATerminal", testTerminal},
		{"ReopensLogsWithoutLoss", testReopen},
		{"KeepsTheLogWhenItCannotBeReopened", testReopenFails},
		{"SignalsEverybody", testSignalAll},
		{"SharesAPIDNamespace", testSharedPID},
		{"JoinsThePIDNamespaceOfAnother", testTargetPID},
		{"KillsLeftoversOfAHostPIDContainer", testHostPID},
		{"TellsWatchers", testWatch},
		{"AbandonsAStartWhoseClientLeft", testAbandonedStart},
		{"ForgetsAContainerThatNeverRan", testForgottenStart},
		{"SurvivesHostileClients", testHostile},
		{"EndsGracefullyOnSIGTERM", testTerminate},
		{"TakesItsContainersAlong", testKilledSupervisor},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, spawn(t)) })
	}
}

func testExitCodes(t *testing.T, in *instance) {
	for id, c := range map[string]struct {
		script       string
		code, signal int
	}{
		"zero":   {"exit 0", 0, 0},
		"seven":  {"exit 7", 7, 0},
		"signal": {"kill -USR1 $$; sleep 10", 138, 10},
	} {
		p := in.program(program.PIDShared, "sh", "-c", c.script)
		in.startProgram(t, id, p)
		if e := in.wait(t, id); e.Code != c.code || e.Signal != c.signal || e.OOM {
			t.Errorf("%s: exit %+v, want code %d, signal %d", id, e, c.code, c.signal)
		}
	}
}

func testRecordsExit(t *testing.T, in *instance) {
	in.start(t, "a", "sh", "-c", "exit 3")
	want := in.wait(t, "a")
	b, err := os.ReadFile(filepath.Join(in.dir, "a.exit.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got supervisor.Exit
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got != want || got.Code != 3 {
		t.Errorf("exit.json = %+v, want %+v with code 3", got, want)
	}
}

func countFDs(tb testing.TB, pid int) int {
	tb.Helper()
	e, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		tb.Fatal(err)
	}
	return len(e)
}

func testFailedStart(t *testing.T, in *instance) {
	before := countFDs(t, in.proc.PID)
	_, err := in.client.Start(deadline(t), "a", in.request(t, "a", in.program(program.PIDContainer, "no-such-command")))
	var f *program.Failure
	if !errors.As(err, &f) || f.Kind != "not_found" {
		t.Errorf("Start of a missing command: %v, want a failure of kind not_found", err)
	}
	r := in.request(t, "b", in.program(program.PIDContainer, "true"))
	r.Log.CRI = filepath.Join(in.dir, "no/such/dir/log")
	_, err = in.client.Start(deadline(t), "b", r)
	if !errors.As(err, &f) || !strings.Contains(f.Reason, r.Log.CRI) {
		t.Errorf("Start with an impossible log: %v, want a failure naming %s", err, r.Log.CRI)
	}
	st, err := in.client.Status(deadline(t))
	if err != nil || len(st.Containers) != 0 {
		t.Errorf("Status = %+v, %v, want no containers", st, err)
	}
	await(t, "all descriptors are closed", func() bool { return countFDs(t, in.proc.PID) <= before })
	if kids := children(t, in.proc.PID); len(kids) != 1 { // sinit
		t.Errorf("children %v, want sinit only", kids)
	}
}

func children(tb testing.TB, pid int) []string {
	tb.Helper()
	var all []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func testLogs(t *testing.T, in *instance) {
	in.start(t, "a", "sh", "-c", "echo out; echo err >&2; printf partial")
	in.wait(t, "a")
	b, err := os.ReadFile(in.log("a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" stdout F out\n", " stderr F err\n", " stdout P partial\n"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("log %q, want %q in it", b, want)
		}
	}
	in.start(t, "long", "sh", "-c", "head -c 40000 /dev/zero | busybox tr '\\0' x; echo")
	in.wait(t, "long")
	if got, want := in.text(t, "long"), strings.Repeat("x", 40000)+"\n"; got != want {
		t.Errorf("long line: %d bytes, want %d", len(got), len(want))
	}
}

func testSetup(t *testing.T, in *instance) {
	in.start(t, "a", "sh", "-c", "hostname; cat /proc/net/dev >/dev/null; busybox ifconfig lo | busybox grep UP")
	in.wait(t, "a")
	if got := in.text(t, "a"); !strings.HasPrefix(got, "web\n") || !strings.Contains(got, "UP LOOPBACK") {
		t.Errorf("container says %q, want host name web and lo up", got)
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", in.proc.Hello.InitPID))
	if err != nil || string(comm) != "sinit\n" {
		t.Errorf("init is called %q, %v, want sinit", comm, err)
	}
}

func testSharedMemory(t *testing.T, in *instance) {
	for id, script := range map[string]string{"a": "echo hello > /dev/shm/x; sleep 60"} {
		p := in.program(program.PIDContainer, "sh", "-c", script)
		p.Mounts = append(p.Mounts, program.Mount{Type: "shm", Target: "/dev/shm"})
		in.startProgram(t, id, p)
	}
	p := in.program(program.PIDContainer, "sh", "-c", "while ! busybox test -s /dev/shm/x; do busybox usleep 1000; done; cat /dev/shm/x; df -k /dev/shm")
	p.Mounts = append(p.Mounts, program.Mount{Type: "shm", Target: "/dev/shm"})
	in.startProgram(t, "b", p)
	in.wait(t, "b")
	if got := in.text(t, "b"); !strings.HasPrefix(got, "hello\n") || !strings.Contains(got, " 1024 ") {
		t.Errorf("second container says %q, want hello and 1024 blocks", got)
	}
	if _, err := os.ReadFile("/proc/self/mountinfo"); err != nil {
		t.Fatal(err)
	}
}

func testGrandchild(t *testing.T, in *instance) {
	p := in.program(program.PIDShared, "sh", "-c", "(while :; do busybox usleep 20000; echo more; done) & echo first; exit 4")
	in.startProgram(t, "a", p)
	began := time.Now()
	if e := in.wait(t, "a"); e.Code != 4 {
		t.Errorf("exit %+v, want code 4", e)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("the exit took %v", d)
	}
	size := len(in.text(t, "a"))
	await(t, "the grandchild's output is logged after the exit", func() bool { return len(in.text(t, "a")) > size })
}

func testWatch(t *testing.T, in *instance) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	st, events, err := in.client.Watch(ctx)
	if err != nil || len(st.Containers) != 0 {
		t.Fatalf("Watch: %+v, %v", st, err)
	}
	pid := in.start(t, "a", "sh", "-c", "exit 5")
	if e := <-events; e.Container != "a" || e.PID != pid || e.Exit != nil {
		t.Errorf("first event %+v, want the start with pid %d", e, pid)
	}
	if e := <-events; e.Container != "a" || e.Exit == nil || e.Exit.Code != 5 {
		t.Errorf("second event %+v, want the exit with 5", e)
	}
	if err := in.client.Forget(ctx, "a"); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if _, err := in.client.Wait(ctx, "a"); err == nil {
		t.Error("Wait for a forgotten container succeeded")
	}
	in.shutdown(t)
	if _, open := <-events; open {
		t.Error("the channel stays open when the supervisor ends")
	}
	if _, err := supervisor.Dial(ctx, in.dir); !errors.Is(err, supervisor.ErrGone) {
		t.Errorf("Dial after the end: %v, want ErrGone", err)
	}
}

// readAll returns what a pipe yields until its end, in the background.
func readAll(r io.Reader) <-chan string {
	c := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		c <- string(b)
	}()
	return c
}
