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
		r := s.start(b, name, p, flags, nil, extra...)
		b.StopTimer()
		if r.failure != nil {
			b.Fatal(r.failure)
		}
		_ = r.cmd.Wait()
		b.StartTimer()
	}
}

// idle starts a container that stays until the test ends.
func (s *stage) idle(t testing.TB, e program.Extent) *process {
	t.Helper()
	return s.keep(t, container(e, "sleep", "1000"))
}

func (s *stage) keep(t testing.TB, p *program.Program, extra ...*os.File) *process {
	t.Helper()
	r := s.start(t, "launch", p, newContainer, nil, extra...)
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	if r.failure != nil {
		t.Fatal(r.failure)
	}
	return r
}

func pidfd(t testing.TB, r *process) *os.File {
	t.Helper()
	fd, err := unix.PidfdOpen(r.cmd.Process.Pid, 0)
	must(t, err)
	f := os.NewFile(uintptr(fd), "pidfd")
	t.Cleanup(func() { f.Close() })
	return f
}
