package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// askVar makes this program one that has root do something, in a user's script.
const askVar = "SIFLET_CLI_TEST_ASK"

// What is asked for, and how it ended.
type (
	request struct {
		Dir       string
		Env, Args []string
	}
	answer struct {
		Out, Err []byte
		Code     int
	}
)

func rootSocket() string { return filepath.Join(stage, "root.sock") }

// asRoot runs a command as the machine's administrator would, whoever runs the script:
//
//	root COMMAND...
func asRoot(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: root COMMAND...")
	}
	if os.Geteuid() != 0 {
		args = append([]string{"env", askVar + "=1", filepath.Join(stage, "test")}, args...)
	}
	if err := ts.Exec(args[0], args[1:]...); (err != nil) != neg {
		ts.Fatalf("root %q: %v", args, err)
	}
}

// asOther runs a command as another user, in that user's home:
//
//	other COMMAND...
func asOther(ts *testscript.TestScript, neg bool, args []string) {
	id := strconv.Itoa(otherID)
	asRoot(ts, neg, append([]string{
		"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "env", "-C", "/home/" + otherName, "-u", "SIFLET_CONFIGDIR", "-u", "TMPDIR",
		"HOME=/home/" + otherName, "USER=" + otherName, "XDG_RUNTIME_DIR=/run/user/" + id,
	}, args...))
}

// ask has a command run by root, and ends as it does.
func ask() (int, error) {
	conn, err := net.Dial("unix", rootSocket())
	if err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	var a answer
	if err := errors.Join(json.NewEncoder(conn).Encode(request{dir, os.Environ(), os.Args[1:]}), json.NewDecoder(conn).Decode(&a), conn.Close()); err != nil {
		return 0, err
	}
	_, oerr := os.Stdout.Write(a.Out)
	_, eerr := os.Stderr.Write(a.Err)
	return a.Code, errors.Join(oerr, eerr)
}

// serveRoot does what scripts ask root for until the test ends.
func serveRoot(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("unix", rootSocket())
	if err == nil {
		err = os.Chmod(rootSocket(), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			var r request
			if err = json.NewDecoder(conn).Decode(&r); err == nil {
				err = json.NewEncoder(conn).Encode(r.run())
			}
			if err := errors.Join(err, conn.Close()); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

func (r request) run() answer {
	var out, errors bytes.Buffer
	cmd := exec.Command("/usr/bin/env", r.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.Dir, append(r.Env, askVar+"=", "HOME=/root", "USER=root", "SIFLET_CONFIGDIR="), &out, &errors
	err := cmd.Run()
	a := answer{Out: out.Bytes(), Err: errors.Bytes()}
	if cmd.ProcessState != nil {
		a.Code = cmd.ProcessState.ExitCode()
	} else {
		a.Code, a.Err = 127, fmt.Append(a.Err, err, "\n")
	}
	return a
}
