package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// consoleName is the socket where the runtime hands over the terminal. It is told by
// its name in the working directory, the bundle: a socket's path has to be short.
const consoleName = "console"

// runDelegate creates and starts the container, and is its parent until it ends. It
// returns only an error: as long as no process of the container's has run.
func (s *stage) runDelegate() error {
	d := s.p.Delegate
	// What outlives a call must not look like a stage that has not started the
	// container yet, and the container must not inherit it.
	if err := linux.CloseOnExecFrom(statusFD); err != nil {
		return err
	}
	signals, err := linux.NoteSignals(linux.SentSignals())
	if err != nil {
		return err
	}
	create := []string{"create", "--bundle", d.Bundle(), "--pid-file", d.Dir + "/pid"}
	console := linux.NoFD
	if s.p.Process.Terminal {
		if console, err = linux.ListenUnix(".", consoleName); err != nil {
			return err
		}
		create = append(create, "--console-socket", consoleName)
	}
	if err := s.call(append(create, d.ID)...); err != nil {
		return err
	}
	pid, err := s.createdPID()
	if err != nil {
		return err
	}
	if s.p.Process.Terminal {
		if err := s.passTerminal(console); err != nil {
			return err
		}
	}
	report, err := s.openReport()
	if err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	if err := s.call("start", d.ID); err != nil {
		return err
	}
	if err := awaitAction(report, pid); err != nil {
		return err
	}
	// The runtime has copies of what belongs to the process.
	null, err := linux.OpenNull()
	if err != nil {
		return err
	}
	for fd := range 3 {
		if err := linux.MoveTo(int(null), fd); err != nil {
			return err
		}
	}
	if err := linux.SetName("siflet-oci"); err != nil {
		return err
	}
	linux.Close(statusFD) // it runs
	os.Exit(s.attend(pid, signals))
	return nil
}

// begin tells the supervisor that the program is about to run, and waits until it knows.
func begin() error {
	status, answer := linux.FD(statusFD), []byte{program.BeginMark}
	if err := linux.WriteAll(statusFD, answer); err != nil {
		return err
	}
	if n, err := status.Read(answer); n != 1 || err != nil {
		return errors.Join(errors.New("the supervisor is gone"), err)
	}
	return nil
}

// attend passes signals on until the process has ended, and returns its status.
func (s *stage) attend(pid int, signals linux.FD) int {
	const lost = 255
	for {
		for {
			ended, code := linux.ReapAny()
			if ended == pid {
				return code
			}
			if ended == 0 {
				break
			}
		}
		if !linux.IsChild(pid) {
			return lost // the runtime keeps its processes to itself
		}
		if err := signals.AwaitInput(-1); err != nil {
			return lost
		}
		for {
			sig, err := signals.NextSignal()
			if err != nil {
				break
			}
			if !linux.IsChildSignal(sig) {
				_ = s.call("kill", s.p.Delegate.ID, strconv.Itoa(sig)) // it may have ended just now
			}
		}
	}
}

// createdPID reads what the runtime says the container's process is.
func (s *stage) createdPID() (int, error) {
	text, err := linux.Slurp(s.p.Delegate.Dir+"/pid", 32)
	if err != nil {
		return 0, fmt.Errorf("%s create has written no pid file: %w", s.p.Delegate.Runtime, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 || !linux.IsChild(pid) {
		return 0, fmt.Errorf("%s create: the process %q of its pid file is no child of it", s.p.Delegate.Runtime, text)
	}
	return pid, nil
}

// passTerminal hands the terminal that the runtime made to the supervisor.
func (s *stage) passTerminal(console linux.FD) error {
	defer console.Close() //nolint:errcheck // a socket
	late := fmt.Errorf("%s create has sent no terminal", s.p.Delegate.Runtime)
	const patience = 5 * time.Second
	if !console.ReadableWithin(patience) {
		return late
	}
	conn, err := console.Accept()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer conn.Close() //nolint:errcheck // a socket
	if !conn.ReadableWithin(patience) {
		return late
	}
	var name [4096]byte
	_, fds, err := conn.ReceiveFDs(name[:])
	if err != nil || len(fds) == 0 {
		return errors.Join(late, err)
	}
	_, err = linux.FD(statusFD).SendFDs([]byte{'T'}, fds[0])
	for _, fd := range fds {
		err = errors.Join(err, fd.Close())
	}
	return err
}

// call calls the runtime and waits until it has done its work.
func (s *stage) call(args ...string) error {
	d := s.p.Delegate
	log, hooks := d.Dir+"/log", d.Dir+"/"+program.HookOutput
	_ = linux.Unlink(log)
	_ = linux.Unlink(hooks)
	what := d.Runtime + " " + args[0]
	attr := &linux.ForkAttr{
		Args: s.command(append([]string{"--log", log, "--log-format", "json"}, args...)...),
		Env:  delegateEnv(), Files: []linux.FD{0, 1, 2}, PIDNamespace: linux.NoFD, Setsid: true,
	}
	if args[0] == "create" {
		attr.CgroupFD = s.unified
	}
	pid, pidfd, err := linux.Fork(d.Runtime, attr)
	if err != nil {
		return fail(kindOf(err), err, "%s", what)
	}
	defer pidfd.Close() //nolint:errcheck // a pidfd
	patience := time.Duration(d.Patience)
	if !pidfd.ReadableWithin(patience) {
		linux.KillSession(pid)
		_ = pidfd.ReadableWithin(time.Second)
		_, _, _, _ = linux.Reap(pid)
		return fail("", fmt.Errorf("it was not done after %s, and was killed", patience), "%s", what)
	}
	code, sig, _, err := linux.Reap(pid)
	switch {
	case err != nil:
		return fail("", err, "%s", what)
	case sig != 0:
		err = fmt.Errorf("it died of signal %d", sig)
	case code != 0:
		err = fmt.Errorf("it ended with status %d", code)
	default:
		return nil
	}
	if said := complaint(log); said != "" {
		err = fmt.Errorf("%s (%w)", said, err)
	}
	const most = 4 << 10 // as of siflet's own hooks
	if said, _ := linux.Slurp(hooks, most); len(said) > 0 {
		err = fmt.Errorf("%w; hooks said: %s", err, bytes.TrimSpace(said))
	}
	return fail("", err, "%s", what)
}

// command is a command line of the runtime's.
func (s *stage) command(args ...string) []string {
	d := s.p.Delegate
	return slices.Concat([]string{d.Runtime}, d.Args, []string{"--root", d.Root}, args)
}

// complaint is the last error in a runtime's log.
func complaint(log string) (said string) {
	const most = 64 << 10
	text, err := linux.Slurp(log, most)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		level, message := "", ""
		r := program.NewReader(bytes.TrimSpace(line))
		r.Object(func(key string) {
			switch key {
			case "level":
				level = r.Text()
			case "msg":
				message = r.Text()
			default:
				r.Skip()
			}
		})
		if r.End() != nil {
			message = string(bytes.TrimSpace(line))
		}
		if message != "" && level != "warning" && level != "info" && level != "debug" {
			said = message
		}
	}
	return said
}
