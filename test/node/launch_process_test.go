package node

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/program"
)

func TestContainerProcessExitsWithItsStatus(t *testing.T) {
	s := newStage(t)
	out, code := s.run(t, container(squashfs(t, nil), "sh", "-c", "echo $$; ls /dev/fd/; exit 3"))
	// 3 is the directory that ls reads: nothing of the stage is left open.
	if out != "1\n0\n1\n2\n3\n" || code != 3 {
		t.Errorf("exit %d, output %q", code, out)
	}
}

func TestUserIsFoundInTheImage(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	id := func(n uint32) *uint32 { return &n }
	for _, c := range []struct {
		user program.User
		want string
	}{
		{program.User{}, "uid=0(root) gid=0(root) groups=0(root)"},
		{program.User{Spec: "web"}, "uid=1000(web) gid=1001(web) groups=1001(web),1002(log)"},
		{program.User{Spec: "1000:0", Groups: []uint32{7}}, "uid=1000(web) gid=0(root) groups=0(root),7,1002(log)"},
		{program.User{UID: id(1000), Strict: true, Groups: []uint32{7}}, "uid=1000(web) gid=1001(web) groups=7,1001(web)"},
		{program.User{UID: id(4242), GID: id(7)}, "uid=4242 gid=7 groups=7"},
	} {
		p := container(e, "id")
		p.Process.User = c.user
		if out, _ := s.run(t, p); strings.TrimSpace(out) != c.want {
			t.Errorf("%+v: %q, want %q", c.user, out, c.want)
		}
	}
}

func TestEmptyPasswdKnowsNumbersButNoNames(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, func(root string) { must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), nil, 0o644)) })
	p := container(e, "sh", "-c", "id -u; echo $HOME")
	p.Process.HomeFromPasswd = true
	p.Process.User.Spec = "77"
	if out, _ := s.run(t, p); out != "77\n/\n" {
		t.Errorf("output %q", out)
	}
	p.Process.User.Spec = "web"
	if f, code := s.fails(t, p); f.Kind != "not_found" || code != 127 {
		t.Errorf("exit %d, failure %+v", code, f)
	}
}

func TestCommandsThatCannotRunSayWhy(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, func(root string) {
		must(t, os.WriteFile(filepath.Join(root, "bin/plain"), []byte("x"), 0o644))
		must(t, os.WriteFile(filepath.Join(root, "bin/orphan"), []byte("#!/no/such/interpreter\n"), 0o755))
	})
	for _, c := range []struct {
		command, failure, kind string
		code                   int
	}{
		{"nosuch", `exec "nosuch": executable file not found in $PATH`, "not_found", 127},
		{"plain", `exec "plain": permission denied`, "permission", 126},
		{"/bin/plain", `exec "/bin/plain": permission denied`, "permission", 126},
		{"/bin/nosuch", `exec "/bin/nosuch": no such file or directory`, "not_found", 127},
		{"/bin/orphan", `exec "/bin/orphan": no such file or directory: its interpreter or dynamic loader is missing`, "not_found", 127},
	} {
		f, code := s.fails(t, container(e, c.command))
		if f.Error() != c.failure || f.Kind != c.kind || code != c.code {
			t.Errorf("exit %d, %+v, want %s", code, f, c.failure)
		}
	}
}

func TestMissingWorkingDirectoryFailsOrFallsBack(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "pwd")
	p.Process.Cwd = "/no/such"
	if f, _ := s.fails(t, p); f.Kind != "not_found" || f.Step != `enter working directory "/no/such"` {
		t.Errorf("failure %+v", f)
	}
	p.Process.CwdFallback = []string{"/nor/this", "/tmp"}
	if out, _ := s.run(t, p); out != "/tmp\n" {
		t.Errorf("output %q", out)
	}
}

func TestCapabilitiesAreThoseAskedFor(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status")
	few := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"} // bits 0 and 10
	p.Process.Capabilities = &program.Capabilities{Bounding: few, Effective: few, Permitted: few, Inheritable: few, Ambient: few}
	p.Process.User.Spec = "web"
	p.Process.NoNewPrivs = true
	out, _ := s.run(t, p)
	if strings.Count(out, "0000000000000401\n") != 5 || !strings.Contains(out, "NoNewPrivs:\t1") {
		t.Errorf("status:\n%s", out)
	}
}

// denyMkdir makes mkdir(2) and mkdirat(2) fail with EPERM.
func denyMkdir() []byte {
	const mkdir, mkdirat = 83, unix.SYS_MKDIRAT // the former on amd64
	var b []byte
	for _, i := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: mkdir},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: mkdirat},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	} {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}

func TestSeccompFilterHoldsWithAndWithoutNoNewPrivs(t *testing.T) {
	s := newStage(t)
	for _, nnp := range []bool{true, false} {
		p := container(squashfs(t, nil), "mkdir", "/tmp/x")
		p.Process.Seccomp, p.Process.NoNewPrivs = denyMkdir(), nnp
		if out, code := s.run(t, p); code != 1 || !strings.Contains(out, "Operation not permitted") {
			t.Errorf("no_new_privs %v: exit %d, %q", nnp, code, out)
		}
	}
}

func TestTerminalIsTheContainersOwn(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "tty; stty size; test /dev/console -ef /dev/console && stat -c %u /dev/pts/0; read x; echo got $x")
	p.Process.Terminal, p.Process.Rows, p.Process.Cols = true, 40, 120
	p.Process.User.Spec = "web"
	r := s.start(t, "launch", p, newContainer)
	if r.failure != nil || r.master == nil {
		t.Fatalf("no terminal: %v", r.failure)
	}
	if _, err := r.master.WriteString("input\n"); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(r.master); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	_ = r.cmd.Wait()
	text := strings.Join(lines, "\n")
	for _, want := range []string{"/dev/", "40 120", "1000", "got input"} {
		if !strings.Contains(text, want) {
			t.Errorf("output %q lacks %q", text, want)
		}
	}
}

func TestExecJoinsTheContainer(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "touch /mark; exec sleep 1000")
	held := s.keep(t, p)
	p.Process.Args = []string{"sh", "-c", "until test -e /mark; do :; done; id -u; pwd; readlink /proc/self/ns/mnt"}
	p.Process.User.Spec, p.Process.Cwd = "web", "/tmp"
	r := s.start(t, "exec", p, 0, pidfd(t, held))
	_ = r.cmd.Wait()
	if r.failure != nil {
		t.Fatal(r.failure)
	}
	// The exec was made in the test's PID namespace, which /proc in there does not show.
	if out := r.out.String(); !strings.HasPrefix(out, "1000\n/tmp\n") {
		t.Errorf("output %q", out)
	}
}

func TestAccountsAndFilesArePlaced(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "cat /etc/passwd /etc/group /etc/hosts; stat -c %a /etc/hosts")
	p.Accounts = &program.Accounts{Passwd: "web:x:5:6:W:/home/w:/bin/zsh", Groups: []string{"new:x:9:"}}
	p.Files = []program.File{{Target: "/etc/hosts", Data: "127.0.0.1 localhost\n", Mode: 0o644}}
	want := "root:x:0:0::/root:/bin/sh\nweb:x:5:6:W:/home/w:/bin/sh\nroot:x:0:\nweb:x:1001:\nlog:x:1002:web\nnew:x:9:\n" +
		"127.0.0.1 localhost\n644\n"
	if out, _ := s.run(t, p); out != want {
		t.Errorf("output %q, want %q", out, want)
	}
}

func TestLimitsThatCannotBeRaisedAreRefused(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "ulimit -n; ulimit -Hn")
	p.Process.Rlimits = []program.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}
	if out, _ := s.run(t, p); out != "100\n200\n" {
		t.Errorf("output %q", out)
	}
	p.Process.Rlimits = []program.Rlimit{{Type: "RLIMIT_NOSUCH", Soft: 1, Hard: 2}}
	if f, _ := s.fails(t, p); f.Kind != "invalid" {
		t.Errorf("failure %+v", f)
	}
}

func TestContainerStartsWithTheCallersFileLimit(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "ulimit -n")
	shell := exec.CommandContext(t.Context(), "sh", "-c", "ulimit -n")
	want, err := shell.Output()
	must(t, err)
	if out, _ := s.run(t, p); out != string(want) {
		t.Errorf("soft limit %q, want %q", out, want)
	}
}

func TestProgramOfANewerVersionIsRefused(t *testing.T) {
	s := newStage(t)
	p := container(program.Extent{}, "true")
	p.Version = program.Version + 1
	if f, _ := s.fails(t, p); f.Step != "read program" || f.Kind != "invalid" {
		t.Errorf("failure %+v", f)
	}
}

func TestActionReplacesTheCommandWhereTheImageHasAContract(t *testing.T) {
	s := newStage(t)
	helper := build(t, "siflet-action")
	native := squashfs(t, func(root string) {
		must(t, os.MkdirAll(filepath.Join(root, ".singularity.d/env"), 0o755))
		must(t, os.WriteFile(filepath.Join(root, ".singularity.d/env/90-environment.sh"), []byte("export COLOUR=red\n"), 0o755))
	})
	for _, c := range []struct {
		e    program.Extent
		want string
	}{{native, "red\n"}, {squashfs(t, nil), "plain\n"}} {
		p := container(c.e, "echo", "plain")
		p.Process.Action = []byte(`{"command":"exec","args":["sh","-c","echo $COLOUR"]}`)
		p.Process.ActionPath = helper
		if out, code := s.run(t, p); out != c.want || code != 0 {
			t.Errorf("exit %d, output %q, want %q", code, out, c.want)
		}
	}
	p := container(native, "true")
	p.Process.ActionPath = helper
	p.Process.Action = []byte(`{"command":"exec","args":["nosuch"]}`)
	if f, _ := s.fails(t, p); !strings.Contains(f.Reason, "nosuch") {
		t.Errorf("failure %+v", f)
	}
}

func TestMissingSecurityModuleIsNamed(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err == nil {
		t.Skip("needs a kernel without AppArmor")
	}
	s := newStage(t)
	p := container(squashfs(t, nil), "true")
	p.Process.AppArmor = "some-profile"
	if f, _ := s.fails(t, p); f.Step != "apply AppArmor profile some-profile" || !strings.Contains(f.Reason, "does not run AppArmor") {
		t.Errorf("failure %+v", f)
	}
}

func TestStageWithoutAParentRunsNothing(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "grep", "-c", "", "/proc/self/status")
	p.Process.User.Spec = "web"
	// A parent that has closed its end of the socket has ended.
	data, err := json.Marshal(p)
	must(t, err)
	text := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(text, data, 0o600))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Close(pair[0]))
	status := os.NewFile(uintptr(pair[1]), "status")
	defer closeAll(t, status)
	file, err := os.Open(text)
	must(t, err)
	defer closeAll(t, file)
	cmd := exec.CommandContext(t.Context(), s.binary, "launch")
	cmd.ExtraFiles = []*os.File{status, file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newContainer}
	if out, err := cmd.Output(); err == nil || len(out) > 0 {
		t.Errorf("ran without a parent: %q", out)
	}
}
