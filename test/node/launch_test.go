// Package node tests siflet on a real kernel, as root.
package node

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/program"
)

// stage runs the launch and exec stages of a built siflet-instance.
type stage struct {
	binary string
}

func newStage(tb testing.TB) *stage {
	tb.Helper()
	needCaps(tb, unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN")
	return &stage{binary: build(tb, "siflet-instance")}
}

// binEnv names a directory of built commands, for machines without a compiler.
const binEnv = "SIFLET_BIN"

// build builds a command of the project.
func build(tb testing.TB, name string) string {
	tb.Helper()
	if dir := os.Getenv(binEnv); dir != "" {
		return filepath.Join(dir, name)
	}
	binary := filepath.Join(tb.TempDir(), name)
	build := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/siflet/siflet/cmd/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func needCaps(tb testing.TB, capability int, name string) {
	tb.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		tb.Fatal(err)
	}
	if data[capability/32].Effective&(1<<(capability%32)) == 0 {
		tb.Skipf("needs %s", name)
	}
}

// process is a stage and what it became.
type process struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	failure *program.Failure
	master  *os.File
}

// start runs a stage and waits until its exec succeeded or failed.
func (s *stage) start(tb testing.TB, name string, p *program.Program, flags uintptr, extra ...*os.File) *process {
	tb.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "status")
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	text := os.NewFile(uintptr(fd), "program")
	if _, err := text.Write(data); err != nil {
		tb.Fatal(err)
	}
	if _, err := text.Seek(0, 0); err != nil {
		tb.Fatal(err)
	}
	r := &process{cmd: exec.CommandContext(tb.Context(), s.binary, name)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if p.Process.Terminal {
		r.cmd.Stdout, r.cmd.Stderr = nil, nil
	}
	r.cmd.ExtraFiles = append([]*os.File{theirs, text}, extra...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := r.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	closeAll(tb, theirs, text)
	r.receive(tb, pair[0])
	return r
}

func (r *process) receive(tb testing.TB, socket int) {
	tb.Helper()
	defer func() { must(tb, unix.Close(socket)) }()
	var all []byte
	for {
		buf, oob := make([]byte, 4096), make([]byte, 64)
		n, oobn, _, _, err := unix.Recvmsg(socket, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		if n == 0 {
			break
		}
		if oobn > 0 {
			messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
			fds, err := unix.ParseUnixRights(&messages[0])
			if err != nil || buf[0] != 'T' && buf[0] != program.LockMark {
				tb.Fatalf("descriptor with %q: %v", buf[:n], err)
			}
			f := os.NewFile(uintptr(fds[0]), "descriptor")
			if buf[0] == 'T' {
				r.master = f
				tb.Cleanup(func() { closeAll(tb, f) })
			} else {
				closeAll(tb, f) // nobody else uses the directory
			}
			buf, n = buf[1:], n-1
		}
		all = append(all, buf[:n]...)
	}
	if len(all) > 0 {
		r.failure = new(program.Failure)
		if err := json.Unmarshal(all, r.failure); err != nil {
			tb.Fatalf("status %q: %v", all, err)
		}
	}
}

const newContainer = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// run starts a container and returns its output once it has ended.
func (s *stage) run(tb testing.TB, p *program.Program) (string, int) {
	tb.Helper()
	r := s.start(tb, "launch", p, newContainer)
	_ = r.cmd.Wait()
	if r.failure != nil {
		tb.Fatalf("launch: %v", r.failure)
	}
	return r.out.String(), r.cmd.ProcessState.ExitCode()
}

// fails starts a container that can't start.
func (s *stage) fails(tb testing.TB, p *program.Program) (*program.Failure, int) {
	tb.Helper()
	r := s.start(tb, "launch", p, newContainer)
	_ = r.cmd.Wait()
	if r.failure == nil {
		tb.Fatalf("launch succeeded: %s", r.out.String())
	}
	return r.failure, r.cmd.ProcessState.ExitCode()
}

// squashfs packs busybox and what fill adds, and returns the image as an extent.
func squashfs(tb testing.TB, fill func(root string)) program.Extent {
	tb.Helper()
	if fill != nil {
		return packed(tb, fill)
	}
	plain.once.Do(func() {
		text, err := os.ReadFile(packed(tb, nil).Path)
		must(tb, err)
		plain.image = text
	})
	if plain.image == nil {
		tb.Skip("the image could not be packed")
	}
	image := filepath.Join(tb.TempDir(), "image")
	must(tb, os.WriteFile(image, plain.image, 0o644))
	return program.Extent{Path: image, Size: int64(len(plain.image)), FS: "squashfs"}
}

// plain is the image that most tests use, packed once.
var plain struct {
	once  sync.Once
	image []byte
}

func packed(tb testing.TB, fill func(root string)) program.Extent {
	tb.Helper()
	for _, tool := range []string{"mksquashfs", "busybox"} {
		if _, err := exec.LookPath(tool); err != nil {
			tb.Skipf("needs %s", tool)
		}
	}
	dir := tb.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev"} {
		must(tb, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	path, _ := exec.LookPath("busybox")
	data, err := os.ReadFile(path)
	must(tb, err)
	must(tb, os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755))
	for applet := range strings.FieldsSeq("sh cat echo id ls mount sleep true stat pwd env tty touch readlink nproc mkdir grep test stty wc") {
		must(tb, os.Symlink("busybox", filepath.Join(root, "bin", applet)))
	}
	must(tb, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"), 0o644))
	must(tb, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nweb:x:1001:\nlog:x:1002:web\n"), 0o644))
	if fill != nil {
		fill(root)
	}
	image := filepath.Join(dir, "image")
	out, err := exec.CommandContext(tb.Context(), "mksquashfs", root, image, "-noappend", "-all-root", "-no-progress").CombinedOutput()
	if err != nil {
		tb.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	info, err := os.Stat(image)
	must(tb, err)
	return program.Extent{Path: image, Size: info.Size(), FS: "squashfs"}
}

func closeAll(tb testing.TB, files ...*os.File) {
	tb.Helper()
	for _, f := range files {
		must(tb, f.Close())
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// container is a program with the mounts a pod's container has.
func container(e program.Extent, args ...string) *program.Program {
	return &program.Program{
		Version:    program.Version,
		Namespaces: program.Namespaces{PID: program.PIDContainer, Cgroup: true},
		Root:       program.Root{Extents: []program.Extent{e}},
		Mounts: []program.Mount{
			{Type: "proc", Target: "/proc", NoSuid: true, NoDev: true, NoExec: true},
			{Type: "tmpfs", Target: "/dev", Data: "mode=755,size=64k", NoSuid: true},
			{Type: "devpts", Target: "/dev/pts", Data: "newinstance,ptmxmode=0666,mode=0620,gid=5", NoSuid: true, NoExec: true},
			{Type: "mqueue", Target: "/dev/mqueue", NoSuid: true, NoDev: true, NoExec: true},
			{Type: "tmpfs", Target: "/dev/shm", Data: "mode=1777,size=64m", NoSuid: true, NoDev: true},
			{Type: "sysfs", Target: "/sys", Readonly: true, NoSuid: true, NoDev: true, NoExec: true},
		},
		Devices: []program.Device{
			{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, Mode: 0o666},
			{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5, Mode: 0o666},
			{Path: "/dev/full", Type: "c", Major: 1, Minor: 7, Mode: 0o666},
			{Path: "/dev/random", Type: "c", Major: 1, Minor: 8, Mode: 0o666},
			{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9, Mode: 0o666},
			{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0, Mode: 0o666},
		},
		MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware", "/proc/acpi"},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		Process:       program.Process{Args: args, Env: []string{"PATH=/bin"}},
	}
}
