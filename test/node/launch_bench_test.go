package node

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/program"
)

// BenchmarkLaunch is the time from the start of a launch stage to its exec, of
// an image that another container uses already.
func BenchmarkLaunch(b *testing.B) {
	s := newStage(b)
	e := squashfs(b, nil)
	s.idle(b, e)
	s.bench(b, "launch", container(e, "true"), newContainer)
}

// BenchmarkExec is the time from the start of an exec stage to its exec.
func BenchmarkExec(b *testing.B) {
	s := newStage(b)
	e := squashfs(b, nil)
	s.bench(b, "exec", container(e, "true"), 0, pidfd(b, s.idle(b, e)))
}

func (s *stage) bench(b *testing.B, name string, p *program.Program, flags uintptr, extra ...*os.File) {
	b.Helper()
	for b.Loop() {
		r := s.start(b, name, p, flags, extra...)
		b.StopTimer()
		if r.failure != nil {
			b.Fatal(r.failure)
		}
		_ = r.cmd.Wait()
		b.StartTimer()
	}
}

// idle starts a container that stays until the test ends.
func (s *stage) idle(tb testing.TB, e program.Extent) *process {
	tb.Helper()
	return s.keep(tb, container(e, "sleep", "1000"))
}

func (s *stage) keep(tb testing.TB, p *program.Program, extra ...*os.File) *process {
	tb.Helper()
	r := s.start(tb, "launch", p, newContainer, extra...)
	tb.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	if r.failure != nil {
		tb.Fatal(r.failure)
	}
	return r
}

func pidfd(tb testing.TB, r *process) *os.File {
	tb.Helper()
	fd, err := unix.PidfdOpen(r.cmd.Process.Pid, 0)
	must(tb, err)
	f := os.NewFile(uintptr(fd), "pidfd")
	tb.Cleanup(func() { closeAll(tb, f) })
	return f
}
