package supervisor

import (
	"errors"
	"os"
	goruntime "runtime"
	"syscall" //nolint:depguard // nothing but a test ends one thread alone
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	firstThreadEnv = "SIFLET_TEST_FIRST_THREAD_ENDS"
	crashEnv       = "SIFLET_TEST_CRASHES_AS"
)

// While a program is made ready to run, this is a process whose first thread ends some
// time before the others, which have all its descriptors open until then; or one that ends
// under another name as Go's runtime ends programs.
func init() { //nolint:gochecknoinits // only here it is certain that this is the first thread
	if name := os.Getenv(crashEnv); name != "" {
		_ = linux.SetName(name) // the test sees it
		os.Exit(program.ActionCrash)
	}
	if os.Getenv(firstThreadEnv) == "" {
		return
	}
	goruntime.LockOSThread()
	go func() {
		<-time.After(4 * lookInterval)
		os.Exit(0)
	}()
	goruntime.Gosched()
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestAnActionThatItsRuntimeEndsIsNoStart(t *testing.T) {
	for name, want := range map[string]string{program.ActionName: program.ActionCrashed, program.ScriptName: ""} {
		st := &stage{process: process{s: &server{loop: &loop{}}}, sock: linux.NoFD, terminal: linux.NoFD}
		pid, pidfd, err := linux.Fork("/proc/self/exe", &linux.ForkAttr{
			Args: []string{"program"}, Env: []string{crashEnv + "=" + name}, Files: []linux.FD{0, 1, 2}, PIDNamespace: linux.NoFD,
		})
		if err != nil {
			t.Fatal(err)
		}
		st.pid, st.pidfd = pid, pidfd
		got := "not settled"
		st.settle = func(f *program.Failure) {
			if got = ""; f != nil {
				got = f.Reason
			}
		}
		for stat, ok := readStat(pid); ok && !stat.dead; stat, ok = readStat(pid) {
			<-time.After(time.Millisecond)
		}
		st.judge()
		if got != want {
			t.Errorf("the end of %s is told as %q, want %q", name, got, want)
		}
		child := linux.NewChild(pid, pidfd)
		if code, _, err := child.Wait(); code != program.ActionCrash || errors.Join(err, child.Close()) != nil {
			t.Errorf("the process ended with %d, %v, want %d", code, err, program.ActionCrash)
		}
	}
}

func TestAProcessThatEndsThreadByThreadWasNotKilled(t *testing.T) {
	loop, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := linux.Socketpair()
	if err == nil {
		err = ours.SetNonblock()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid, pidfd, err := linux.Fork("/proc/self/exe", &linux.ForkAttr{
		Args: []string{"program"}, Env: []string{firstThreadEnv + "=1"},
		Files: []linux.FD{0, 1, 2, theirs}, PIDNamespace: linux.NoFD,
	})
	if err == nil {
		err = theirs.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{process: process{s: &server{loop: loop, inbuf: make([]byte, maxReport)}, pid: pid, pidfd: pidfd}, sock: ours, terminal: linux.NoFD}
	failure := &program.Failure{Reason: "not settled"}
	st.settle = func(f *program.Failure) { failure = f }
	st.dying, st.ended = st.died, func(*Exit) { loop.done = true }
	for stat, ok := readStat(pid); ok && !stat.dead; stat, ok = readStat(pid) {
		<-time.After(time.Millisecond)
	}
	if st.pidfd.Readable() {
		t.Skip("the machine is too busy: all threads have ended")
	}
	st.lookLater()
	if err := loop.watch(st.pidfd, linux.EventIn, &st.process); err != nil {
		t.Fatal(err)
	}
	if err := loop.run(); err != nil {
		t.Fatal(err)
	}
	if failure != nil {
		t.Errorf("the stage failed: %+v", failure)
	}
}
