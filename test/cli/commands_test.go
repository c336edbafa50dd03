package cli_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/siflet/siflet/runtime"
)

// patience bounds everything a script waits for.
const patience = time.Minute

// code runs a command and wants an exit status: code N COMMAND...
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			got = 128 + int(status.Signal()) // as a shell says it
		}
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// within calls ok until it is true.
func within(ts *testscript.TestScript, what string, ok func() bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// retry runs a command until it succeeds (or, with !, fails): retry COMMAND...
func retry(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: retry COMMAND...")
	}
	within(ts, strings.Join(args, " "), func() bool { return (ts.Exec(args[0], args[1:]...) == nil) != neg })
}

// fetch wants a text at an address:
//
//	fetch URL TEXT
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch URL TEXT")
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	within(ts, args[0]+" to say "+args[1], func() bool {
		r, err := client.Get(args[0])
		if err != nil {
			return false
		}
		text, err := io.ReadAll(r.Body)
		return errors.Join(err, r.Body.Close()) == nil && strings.Contains(string(text), args[1])
	})
}

// interrupt runs a command, sends it a signal when it has written a line, and
// wants to know how it ends: by a signal or with a status.
//
//	interrupt SIGNAL signal:SIGNAL|N COMMAND...
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupt SIGNAL signal:SIGNAL|N COMMAND...")
	}
	sig, err := runtime.ParseSignal(args[0])
	ts.Check(err)
	cmd := exec.Command(filepath.Join(os.Getenv(binVar), args[2]), args[3:]...)
	cmd.Env = []string{
		"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "SIFLET_CONFIGDIR=" + ts.Getenv("SIFLET_CONFIGDIR"), "TMPDIR=" + ts.Getenv("TMPDIR"),
		"SIFLET_CGROUP_PARENT=" + ts.Getenv("SIFLET_CGROUP_PARENT"),
	}
	cmd.Dir = ts.Getenv("WORK")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		ts.Fatalf("it wrote no line: %v, %v", err, cmd.Wait())
	}
	ts.Check(cmd.Process.Signal(syscall.Signal(sig)))
	_ = cmd.Wait() // how it ended is looked at below
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		ts.Fatalf("no wait status")
	}
	got := strconv.Itoa(status.ExitStatus())
	if status.Signaled() {
		got = "signal:" + strconv.Itoa(int(status.Signal()))
	}
	want := args[1]
	if name, bySignal := strings.CutPrefix(want, "signal:"); bySignal {
		n, err := runtime.ParseSignal(name)
		ts.Check(err)
		want = "signal:" + strconv.Itoa(n)
	}
	if got != want {
		ts.Fatalf("it ended with %s, want %s", got, want)
	}
}

// cgroup wants a setting of the group of the process whose PID is in a file, in
// either version's file:
//
//	cgroup PIDFILE V1CONTROLLER V1FILE V1VALUE V2FILE V2VALUE
func cgroup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 6 {
		ts.Fatalf("usage: cgroup PIDFILE V1CONTROLLER V1FILE V1VALUE V2FILE V2VALUE")
	}
	text, err := os.ReadFile("/proc/" + strings.TrimSpace(ts.ReadFile(args[0])) + "/cgroup")
	ts.Check(err)
	file, want := "", args[5]
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for name := range strings.SplitSeq(parts[1], ",") {
			if name == args[1] {
				file, want = filepath.Join("/sys/fs/cgroup", name, parts[2], args[2]), args[3]
			}
		}
		if parts[0] == "0" && file == "" {
			file = filepath.Join("/sys/fs/cgroup", parts[2], args[4])
		}
	}
	got, err := os.ReadFile(file)
	ts.Check(err)
	if strings.TrimSpace(string(got)) != want {
		ts.Fatalf("%s is %q, want %q", file, strings.TrimSpace(string(got)), want)
	}
}

// datagram sends a text to a socket, once somebody listens:
//
//	datagram PATH TEXT
func datagram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: datagram PATH TEXT")
	}
	within(ts, args[0]+" to take a text", func() bool {
		conn, err := net.Dial("unixgram", args[0])
		if err != nil {
			return false
		}
		_, err = conn.Write([]byte(args[1]))
		return errors.Join(err, conn.Close()) == nil
	})
}
