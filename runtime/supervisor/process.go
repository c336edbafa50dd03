package supervisor

import (
	"bytes"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// process is a child of the supervisor. The PID is safe to use until ended
// is called: until then nobody else has collected it.
type process struct {
	s       *server
	pid     int
	pidfd   linux.FD
	cgroup  program.Cgroup
	oomBase uint64
	// dying is called just before the dead process is collected.
	dying func()
	ended func(*Exit)
	// killing is under way when killTree was called.
	killing *treeKill
}

func (p *process) ready(uint32) {
	if !p.alive() || !p.pidfd.Readable() {
		return // a spurious call: dying is for the dead only
	}
	if p.dying != nil {
		p.dying()
		p.dying = nil
	}
	code, sig, ended, err := linux.Reap(p.pid)
	e := &Exit{Version: ProtocolVersion, Code: code, Signal: sig, At: time.Now()}
	switch {
	case err != nil:
		e.Code, e.Message = 255, err.Error()
	case !ended:
		return
	}
	e.OOM = mayBeOOM(e.Code) && oomKills(p.cgroup.OOM) > p.oomBase
	p.s.loop.close(&p.pidfd)
	p.killing.stop()
	p.ended(e)
}

// mayBeOOM tells whether a process that ended with code may owe that to the kernel's
// having killed it, or a child whose status it ends with or that it can't go on
// without. One that succeeded, or that another signal killed, does not.
func mayBeOOM(code int) bool {
	const signals, last, killed = 128, 128 + 64, 128 + linux.SignalKill
	return code != 0 && (code <= signals || code > last || code == killed)
}

func (p *process) alive() bool { return p.pidfd != linux.NoFD }

func (p *process) signal(sig int) error {
	if !p.alive() {
		return linux.ErrNoProcess
	}
	return linux.SignalProcess(p.pidfd, sig)
}

// oomKills reads the kernel's count of OOM kills in a cgroup.
func oomKills(path string) uint64 {
	if path == "" {
		return 0
	}
	fd, err := linux.OpenRead(path)
	if err != nil {
		return 0
	}
	defer fd.Close() //nolint:errcheck // read only
	var b [512]byte  // on the stack: every exec comes here
	n, _ := fd.Read(b[:])
	_, count, _ := bytes.Cut(b[:n], []byte("\noom_kill "))
	kills := uint64(0)
	for _, c := range count {
		if c < '0' || c > '9' {
			break
		}
		kills = kills*10 + uint64(c-'0')
	}
	return kills
}
