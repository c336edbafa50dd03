package node

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

func pipe(tb testing.TB) (r, w *os.File) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}

func (in *instance) exec(tb testing.TB, r supervisor.ExecRequest, script string, stdin, stdout *os.File) *supervisor.Session {
	tb.Helper()
	p := in.program("", "sh", "-c", script)
	p.Process.Terminal = r.Terminal
	r.Program, r.Cgroup = encode(tb, p), in.cgroup
	s, err := in.client.Exec(deadline(tb), "a", r, stdin, stdout, stdout)
	if err != nil {
		tb.Fatalf("Exec: %v", err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func waitSession(tb testing.TB, s *supervisor.Session) supervisor.Exit {
	tb.Helper()
	e, err := s.Wait(deadline(tb))
	if err != nil {
		tb.Fatalf("Session.Wait: %v", err)
	}
	return e
}

func testExec(t *testing.T, in *instance) {
	in.start(t, "a", "sleep", "1000")
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	s := in.exec(t, supervisor.ExecRequest{}, "cat; cat /proc/1/comm; exit 9", inR, outW)
	outW.Close()
	got := readAll(outR)
	if _, err := inW.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	inW.Close()
	inR.Close()
	if e := waitSession(t, s); e.Code != 9 || s.PID == 0 {
		t.Errorf("exec ended with %+v, want code 9", e)
	}
	if out, want := <-got, "typed\nsleep\n"; out != want {
		t.Errorf("exec says %q, want %q", out, want)
	}
	p := in.program("", "no-such")
	_, err := in.client.Exec(deadline(t), "a", supervisor.ExecRequest{Program: encode(t, p)}, nil, nil, nil)
	var f *program.Failure
	if !errors.As(err, &f) || f.Kind != "not_found" {
		t.Errorf("Exec of a missing command: %v, want kind not_found", err)
	}
}

func testExecTerminal(t *testing.T, in *instance) {
	in.start(t, "a", "sleep", "1000")
	s := in.exec(t, supervisor.ExecRequest{Terminal: true}, "read x; echo got $x; tty; exit 2", nil, nil)
	defer s.Terminal.Close()
	if _, err := s.Terminal.WriteString("line\n"); err != nil {
		t.Fatal(err)
	}
	out := readAll(s.Terminal)
	if e := waitSession(t, s); e.Code != 2 {
		t.Errorf("exec ended with %+v, want code 2", e)
	}
	if got := <-out; !strings.Contains(got, "got line\r\n/dev/") {
		t.Errorf("terminal says %q", got)
	}
}

// treeScript starts processes in every way that they could get away by, and
// says their PIDs.
const treeScript = `sleep 1000 & setsid sleep 1001 & (sleep 1002 & sleep 1003) & echo ready; sleep 1004`

func (in *instance) treeSize(tb testing.TB) int {
	tb.Helper()
	n := 0
	procs, err := os.ReadFile(in.cgroup.Procs)
	if err != nil {
		tb.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(procs)) {
		b, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if strings.Contains(string(b), "sleep\x00100") && !strings.Contains(string(b), "sleep\x001000000") {
			n++
		}
	}
	return n
}

func (in *instance) startTree(t *testing.T, r supervisor.ExecRequest) *supervisor.Session {
	t.Helper()
	in.withCgroup(t, "")
	in.start(t, "a", "sleep", "1000000")
	outR, outW := pipe(t)
	s := in.exec(t, r, treeScript, nil, outW)
	if _, err := bufio.NewReader(outR).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	await(t, "the tree has grown", func() bool { return in.treeSize(t) == 5 })
	return s
}

func testExecTimeout(t *testing.T, in *instance) {
	s := in.startTree(t, supervisor.ExecRequest{Timeout: time.Second})
	if e := waitSession(t, s); !e.TimedOut || e.Signal != int(unix.SIGKILL) {
		t.Errorf("exec ended with %+v, want a timeout and SIGKILL", e)
	}
	in.expectMainOnly(t)
}

func (in *instance) expectMainOnly(t *testing.T) {
	t.Helper()
	await(t, "the tree is gone", func() bool { return in.treeSize(t) == 0 })
	st, err := in.client.Status(deadline(t))
	if err != nil || len(st.Containers) != 1 || st.Containers[0].PID == 0 {
		t.Errorf("Status = %+v, %v, want the container running", st, err)
	}
}

func testExecClientLeft(t *testing.T, in *instance) {
	s := in.startTree(t, supervisor.ExecRequest{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	in.expectMainOnly(t)
}

func testOOM(t *testing.T, in *instance) {
	in.withCgroup(t, "32M")
	in.start(t, "a", "sh", "-c", "cat /dev/zero | tail")
	in.start(t, "b", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M")
	if e := in.wait(t, "b"); !e.OOM || e.Code != 137 {
		t.Errorf("exit %+v, want an OOM kill", e)
	}
}

func (in *instance) startCat(t *testing.T, once bool, script string) {
	t.Helper()
	r := in.request(t, "a", in.program(program.PIDContainer, "sh", "-c", script))
	r.Stdin, r.StdinOnce = true, once
	if _, err := in.client.Start(deadline(t), "a", r); err != nil {
		t.Fatal(err)
	}
}

func testAttach(t *testing.T, in *instance) {
	in.startCat(t, false, "while read x; do echo got $x; [ $x = end ] && exit 6; done")
	var outs []<-chan string
	var sessions []*supervisor.Session
	for range 3 {
		r, w := pipe(t)
		s, err := in.client.Attach(deadline(t), "a", nil, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		outs, sessions = append(outs, readAll(r)), append(sessions, s)
	}
	r, w := pipe(t)
	typist, err := in.client.Attach(deadline(t), "a", r, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer typist.Close()
	if _, err := w.WriteString("one\nend\n"); err != nil {
		t.Fatal(err)
	}
	for i, s := range sessions {
		if e := waitSession(t, s); e.Code != 6 {
			t.Errorf("client %d: exit %+v, want 6", i, e)
		}
		s.Close()
		if got, want := <-outs[i], "got one\ngot end\n"; got != want {
			t.Errorf("client %d got %q, want %q", i, got, want)
		}
	}
}

func testStdinOnce(t *testing.T, in *instance) {
	in.startCat(t, true, "cat; exit 3")
	file := filepath.Join(in.dir, "input")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcde\n", 20000)), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := in.client.Attach(deadline(t), "a", f, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e := in.wait(t, "a"); e.Code != 3 {
		t.Errorf("exit %+v, want 3 at the end of input", e)
	}
	if n := len(in.text(t, "a")); n != 320000 {
		t.Errorf("%d bytes came out, want 320000", n)
	}
}

func testStdinKept(t *testing.T, in *instance) {
	in.startCat(t, false, "read x; read y; echo $x $y")
	for _, word := range []string{"one\n", "two\n"} {
		r, w := pipe(t)
		s, err := in.client.Attach(deadline(t), "a", r, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(word); err != nil {
			t.Fatal(err)
		}
		w.Close()
		await(t, "the pipe is empty", func() bool {
			n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
			return err == nil && n == 0
		})
		s.Close()
	}
	in.wait(t, "a")
	if got := in.text(t, "a"); got != "one two\n" {
		t.Errorf("container says %q, want both words", got)
	}
}

func testStuckClient(t *testing.T, in *instance) {
	r, w := pipe(t)
	in.startCat(t, false, "read x; seq 1 200000")
	s, err := in.client.Attach(deadline(t), "a", r, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// The client's output is a pipe that nobody reads.
	_, stuck := pipe(t)
	s2, err := in.client.Attach(deadline(t), "a", nil, stuck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	inR, inW := pipe(t)
	s3, err := in.client.Attach(deadline(t), "a", inR, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s3.Close()
	if _, err := inW.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	in.wait(t, "a")
	if lines := strings.Count(in.text(t, "a"), "\n"); lines != 200000 {
		t.Errorf("%d lines logged, want 200000", lines)
	}
	if _, err := s2.Wait(deadline(t)); err == nil {
		t.Error("the stuck client was not dropped")
	}
}

func testTerminal(t *testing.T, in *instance) {
	p := in.program(program.PIDContainer, "sh", "-c", "read x; stty size; echo got $x; exit 4")
	p.Process.Terminal, p.Process.Rows, p.Process.Cols = true, 10, 20
	r := in.request(t, "a", p)
	r.Stdin = true
	if _, err := in.client.Start(deadline(t), "a", r); err != nil {
		t.Fatal(err)
	}
	if err := in.client.Resize(deadline(t), "a", 33, 44); err != nil {
		t.Errorf("Resize: %v", err)
	}
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	s, err := in.client.Attach(deadline(t), "a", inR, outW, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	outW.Close()
	out := readAll(outR)
	if _, err := inW.WriteString("word\n"); err != nil {
		t.Fatal(err)
	}
	if e := waitSession(t, s); e.Code != 4 {
		t.Errorf("exit %+v, want 4", e)
	}
	if got := <-out; !strings.Contains(got, "33 44\r\ngot word\r\n") {
		t.Errorf("terminal says %q", got)
	}
	if got := in.text(t, "a"); !strings.Contains(got, "got word\r\n") {
		t.Errorf("log says %q", got)
	}
}

func testReopen(t *testing.T, in *instance) {
	const lines = 300000
	in.start(t, "a", "seq", "1", strconv.Itoa(lines))
	var old []string
	for i := 0; ; i++ {
		name := in.log("a") + "." + strconv.Itoa(i)
		if err := os.Rename(in.log("a"), name); err != nil {
			t.Fatal(err)
		}
		old = append(old, name)
		if err := in.client.ReopenLog(deadline(t), "a"); err != nil {
			break // it has ended
		}
	}
	in.wait(t, "a")
	var all strings.Builder
	for _, name := range old {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(logText(t, b))
	}
	if _, err := os.Stat(in.log("a")); err == nil {
		all.WriteString(in.text(t, "a"))
	}
	n := 0
	for line := range strings.Lines(all.String()) {
		n++
		if line != strconv.Itoa(n)+"\n" {
			t.Fatalf("line %d is %q", n, line)
		}
	}
	if n != lines || len(old) < 2 {
		t.Errorf("%d lines in %d files, want %d in several", n, len(old), lines)
	}
}

func testReopenFails(t *testing.T, in *instance) {
	p := in.program(program.PIDContainer, "sh", "-c", "read x; echo later")
	r := in.request(t, "a", p)
	logs := filepath.Join(in.dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Log.CRI, r.Log.Out, r.Stdin, r.StdinOnce = logs+"/a.log", filepath.Join(in.dir, "out"), true, true
	if _, err := in.client.Start(deadline(t), "a", r); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(in.dir, "moved")
	if err := os.Rename(logs, moved); err != nil {
		t.Fatal(err)
	}
	if err := in.client.ReopenLog(deadline(t), "a"); err == nil {
		t.Error("ReopenLog without a directory succeeded")
	}
	inR, inW := pipe(t)
	s, err := in.client.Attach(deadline(t), "a", inR, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := inW.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	in.wait(t, "a")
	b, err := os.ReadFile(moved + "/a.log")
	if err != nil || logText(t, b) != "later\n" {
		t.Errorf("old log has %q, %v, want what came later", b, err)
	}
}

func testSignalAll(t *testing.T, in *instance) {
	in.withCgroup(t, "")
	p := in.program(program.PIDShared, "sh", "-c", "setsid sleep 1000 & setsid sleep 1001 & echo ready; sleep 1002")
	in.startProgram(t, "a", p)
	await(t, "the container is up", func() bool { return in.treeSize(t) == 3 })
	if err := in.client.Signal(deadline(t), "a", int(unix.SIGKILL), true); err != nil {
		t.Fatal(err)
	}
	if n := in.treeSize(t); n != 0 {
		t.Errorf("%d processes are left when Signal returns", n)
	}
	if e := in.wait(t, "a"); e.Signal != int(unix.SIGKILL) || e.OOM {
		t.Errorf("exit %+v, want SIGKILL", e)
	}
}

func testSharedPID(t *testing.T, in *instance) {
	a := in.startProgram(t, "a", in.program(program.PIDShared, "sleep", "1000"))
	in.startProgram(t, "b", in.program(program.PIDShared, "sh", "-c", "cat /proc/1/comm; cat /proc/*/comm"))
	in.wait(t, "b")
	if got := in.text(t, "b"); !strings.HasPrefix(got, "sinit\n") || !strings.Contains(got, "sleep\n") {
		t.Errorf("container sees %q, want sinit and its neighbour", got)
	}
	if err := unix.Kill(in.proc.Hello.InitPID, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := in.wait(t, "a"); e.Signal != int(unix.SIGTERM) {
		t.Errorf("exit %+v, want the SIGTERM that sinit got", e)
	}
	await(t, "sinit ends", func() bool { return !alive(in.proc.Hello.InitPID) })
	if alive(a) {
		t.Error("the container outlived sinit")
	}
}

func testTargetPID(t *testing.T, in *instance) {
	in.start(t, "a", "sleep", "1000")
	p := in.program(program.PIDTarget, "cat", "/proc/1/comm")
	p.Namespaces.Target = "a"
	in.startProgram(t, "b", p)
	in.wait(t, "b")
	if got := in.text(t, "b"); got != "sleep\n" {
		t.Errorf("PID 1 is %q, want the target's", got)
	}
	in.start(t, "c", "sh", "-c", "cat /proc/1/comm")
	in.wait(t, "c")
	if got := in.text(t, "c"); got != "sh\n" && got != "cat\n" {
		t.Errorf("a later container has PID 1 %q, want its own", got)
	}
}

func testHostPID(t *testing.T, in *instance) {
	in.withCgroup(t, "")
	in.startProgram(t, "a", in.program(program.PIDHost, "sh", "-c", "setsid sleep 1000 & exit 0"))
	in.wait(t, "a")
	await(t, "the leftover is killed", func() bool { return in.treeSize(t) == 0 })
}

// stuck is a program whose launch stage waits for ever.
func (in *instance) stuck(t *testing.T) *program.Program {
	t.Helper()
	fifo := filepath.Join(in.dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p := in.program(program.PIDContainer, "true")
	p.Cgroup.Join = []string{fifo}
	return p
}

func testForgottenStart(t *testing.T, in *instance) {
	request := in.request(t, "a", in.stuck(t))
	started := make(chan error, 1)
	go func() {
		_, err := in.client.Start(deadline(t), "a", request)
		started <- err
	}()
	await(t, "the stage", func() bool { return len(children(t, in.proc.PID)) == 2 })
	if err := in.client.Forget(deadline(t), "a"); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if kids := children(t, in.proc.PID); len(kids) != 1 { // sinit
		t.Errorf("children %v, want sinit only", kids)
	}
	if err := <-started; err == nil {
		t.Error("the start succeeded")
	}
}

func testAbandonedStart(t *testing.T, in *instance) {
	before := countFDs(t, in.proc.PID)
	p := in.stuck(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := in.client.Start(ctx, "a", in.request(t, "a", p)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Start: %v, want the deadline", err)
	}
	await(t, "the stage is gone", func() bool {
		return countFDs(t, in.proc.PID) <= before && len(children(t, in.proc.PID)) == 1
	})
}

func testHostile(t *testing.T, in *instance) {
	in.start(t, "a", "sleep", "1000")
	before := countFDs(t, in.proc.PID)
	frame := func(s string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var many []int
	for range 10 {
		many = append(many, int(null.Fd()))
	}
	for name, c := range map[string]struct {
		data []byte
		oob  []byte
	}{
		"nothing":     {},
		"half":        {data: frame(`{"op":"status"}`)[:9]},
		"huge":        {data: []byte{0xff, 0xff, 0xff, 0xff, '{'}},
		"empty":       {data: []byte{0, 0, 0, 0}},
		"not json":    {data: frame("hello")},
		"no op":       {data: frame("{}")},
		"no start":    {data: frame(`{"op":"start","container":"x"}`)},
		"bad mode":    {data: frame(`{"op":"start","container":"x","start":{"program":{},"pid":"odd"}}`)},
		"no program":  {data: frame(`{"op":"start","container":"x","start":{"program":{},"pid":"container"}}`)},
		"fds missing": {data: frame(`{"op":"attach","container":"a","attach":{"stdout":true}}`)},
		"many fds":    {data: frame(`{"op":"status"}`), oob: unix.UnixRights(many...)},
		"exec":        {data: frame(`{"op":"exec","container":"a","exec":{"program":7,"stdin":true}}`), oob: unix.UnixRights(many[0])},
		"deep":        {data: frame(`{"x":` + strings.Repeat("[", 100000))},
	} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(in.dir, "control.sock"), Net: "unix"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(c.data) > 0 {
			_, _, err = conn.WriteMsgUnix(c.data, c.oob, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 1024)
		if _, err := conn.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: no answer and no end", name)
		}
		conn.Close()
	}
	await(t, "all descriptors are closed", func() bool { return countFDs(t, in.proc.PID) <= before })
	if st, err := in.client.Status(deadline(t)); err != nil || len(st.Containers) != 1 {
		t.Errorf("Status = %+v, %v, want one container", st, err)
	}
}

func testTerminate(t *testing.T, in *instance) {
	in.startProgram(t, "a", in.program(program.PIDContainer, "sh", "-c", "trap 'exit 8' TERM; echo up; while :; do sleep 0.01; done"))
	await(t, "the container is up", func() bool { return strings.Contains(in.text(t, "a"), "up") })
	if err := unix.Kill(in.proc.PID, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := in.wait(t, "a"); e.Code != 8 {
		t.Errorf("exit %+v, want what the container made of SIGTERM", e)
	}
	await(t, "the supervisor ends", func() bool {
		_, err := os.Stat(filepath.Join(in.dir, "control.sock"))
		return errors.Is(err, os.ErrNotExist)
	})
}

func testKilledSupervisor(t *testing.T, in *instance) {
	pids := []int{
		in.start(t, "a", "sleep", "1000"),
		in.startProgram(t, "b", in.program(program.PIDShared, "sleep", "1000")),
		in.startProgram(t, "c", in.program(program.PIDHost, "sleep", "1000")),
		in.proc.Hello.InitPID,
	}
	uid := uint32(1000)
	p := in.program(program.PIDContainer, "sleep", "1000")
	p.Process.User = program.User{UID: &uid, Groups: []uint32{1000}}
	pids = append(pids, in.startProgram(t, "d", p))
	if err := in.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		await(t, fmt.Sprintf("process %d dies", pid), func() bool { return !alive(pid) })
	}
}
