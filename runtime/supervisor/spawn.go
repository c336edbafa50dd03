package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// OpenBinary opens siflet-instance on a read-only mount of its own, so that
// no container can overwrite it through /proc/PID/exe.
func OpenBinary(path string) (*os.File, error) {
	fd, err := linux.ReadOnlyClone(path)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// HideBinary is an opened binary for instances with user namespaces of their own: what
// runs it in there comes from the host, and nobody in there may get hold of it.
func HideBinary(binary *os.File) (*os.File, error) {
	fd, err := linux.UnreadableCopy("siflet-instance", linux.FD(binary.Fd()))
	if err != nil {
		return nil, fmt.Errorf("copy siflet-instance: %w", err)
	}
	return os.NewFile(uintptr(fd), "siflet-instance"), nil
}

// SpawnAttr says how Spawn makes the supervisor's process.
type SpawnAttr struct {
	// CloneFlags are the namespaces it is born in.
	CloneFlags uintptr
	// Own, if not nil, are namespaces made without privileges in which it is born, with a
	// mount namespace; CloneFlags are none then.
	Own *linux.OwnNamespaces
	// CgroupFD is a cgroup v2 directory it is born in; 0 is the caller's.
	CgroupFD int
	// Tasks are the tasks files of v1 cgroups it is born in; see
	// linux.EnterCgroups.
	Tasks []string
	// Home tells those of the thread that calls it; it is needed with Tasks.
	Home func() ([]string, error)
	// Forked is told the PID as soon as the process and its namespaces exist,
	// while it makes itself ready.
	Forked func(pid int)
	// Link, if above 0, leads to the keeper of its network; see Config.Linked.
	Link linux.FD
	// Argv0 is what ps shows; Config.Title if empty.
	Argv0 string
	// Stderr takes complaints; nil drops them.
	Stderr *os.File
}

// Process is a supervisor that the caller started. It outlives the caller.
type Process struct {
	Hello Hello
	PID   int
	pidfd *os.File
}

// Spawn starts a supervisor and waits for its hello; when that does not come,
// or is an error, the supervisor is killed. The caller calls Wait sooner or
// later, or leaves a zombie.
func Spawn(ctx context.Context, binary *os.File, cfg Config, attr SpawnAttr) (*Process, error) {
	cfg.Version = cfg.lowest()
	doc, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	defer r.Close() //nolint:errcheck // read only
	p, err := spawn(binary, doc, w, &cfg, &attr)
	err = errors.Join(err, w.Close())
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	if attr.Forked != nil {
		attr.Forked(p.PID)
	}
	if err := p.hello(ctx, r); err != nil {
		return nil, errors.Join(err, p.kill()) //nolint:contextcheck // the cleanup outlives ctx
	}
	return p, nil
}

func spawn(binary *os.File, doc []byte, hello *os.File, cfg *Config, attr *SpawnAttr) (*Process, error) {
	in, err := linux.MemFile("config", doc)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // in memory
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	stderr := null
	if attr.Stderr != nil {
		stderr = linux.FD(attr.Stderr.Fd())
	}
	argv0 := attr.Argv0
	if argv0 == "" {
		argv0 = cfg.Title
	}
	files := []linux.FD{in, null, stderr, linux.FD(hello.Fd())}
	if cfg.Linked {
		files = append(files, attr.Link)
	}
	pid, pidfd, err := forkIn(attr, &linux.ForkAttr{
		Exe:          linux.FD(binary.Fd()),
		Args:         []string{argv0},
		Env:          []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=16MiB"},
		Files:        files,
		CloneFlags:   attr.CloneFlags,
		PIDNamespace: linux.NoFD,
		CgroupFD:     linux.FD(attr.CgroupFD),
		Setsid:       true,
		Own:          attr.Own,
	})
	if err != nil {
		return nil, err
	}
	if err := pidfd.SetNonblock(); err != nil {
		return nil, errors.Join(err, linux.SignalProcess(pidfd, linux.SignalKill), pidfd.Close())
	}
	return &Process{PID: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// forkIn forks from within the cgroups that the child is to be in. It does so
// on a goroutine of its own: a thread that can't get back ends with it.
func forkIn(attr *SpawnAttr, a *linux.ForkAttr) (pid int, pidfd linux.FD, err error) {
	if len(attr.Tasks) == 0 {
		return linux.Fork("", a)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread()
		if pid, pidfd, err = forkAway(attr, a); err == nil {
			goruntime.UnlockOSThread()
		}
	}()
	<-done
	return pid, pidfd, err
}

func forkAway(attr *SpawnAttr, a *linux.ForkAttr) (int, linux.FD, error) {
	home, err := attr.Home()
	if err != nil {
		return 0, linux.NoFD, err
	}
	back, err := linux.EnterCgroups(attr.Tasks, home)
	if err != nil {
		return 0, linux.NoFD, err
	}
	pid, pidfd, err := linux.Fork("", a)
	if berr := back(); berr != nil {
		if err == nil {
			_ = linux.SignalProcess(pidfd, linux.SignalKill)
			_ = pidfd.Close()
		}
		return 0, linux.NoFD, errors.Join(err, berr)
	}
	return pid, pidfd, err
}

func (p *Process) hello(ctx context.Context, r *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewDecoder(r).Decode(&p.Hello); err != nil {
		return errors.Join(fmt.Errorf("start supervisor: hello: %w", err), ctx.Err())
	}
	if p.Hello.Error != "" {
		return &program.Failure{Step: "start supervisor", Reason: p.Hello.Error, Kind: p.Hello.Kind}
	}
	return nil
}

// Wait waits until the supervisor has ended and collects it. It is called
// once successfully.
func (p *Process) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for supervisor: %w", err)
	}
	var code int
	var reap error
	err = conn.Read(func(uintptr) bool {
		var ended bool
		code, _, ended, reap = linux.Reap(p.PID)
		return ended || reap != nil
	})
	if err != nil {
		_ = p.pidfd.SetReadDeadline(time.Time{})
		return errors.Join(fmt.Errorf("wait for supervisor: %w", err), ctx.Err())
	}
	err = errors.Join(reap, p.pidfd.Close())
	if err == nil && code != 0 {
		err = fmt.Errorf("supervisor ended with status %d", code)
	}
	return err
}

// Kill ends the supervisor at once; the kernel takes its containers along.
func (p *Process) Kill() error {
	return linux.SignalProcess(linux.FD(p.pidfd.Fd()), linux.SignalKill)
}

func (p *Process) kill() error {
	if err := p.Kill(); err != nil && !errors.Is(err, linux.ErrNoProcess) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Wait(ctx); ctx.Err() != nil {
		return err
	}
	return nil
}
