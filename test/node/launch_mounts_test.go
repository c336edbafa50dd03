package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// loopsOf lists the loop devices that show a file.
func loopsOf(tb testing.TB, file string) []string {
	tb.Helper()
	var found []string
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(tb, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		// The file was opened in a mount namespace that may be gone: what is named
		// is then only the path from the root of its mount.
		if backing := strings.TrimSpace(string(data)); err == nil && backing != "" && strings.HasSuffix(file, backing) {
			found = append(found, strings.Split(name, "/")[3])
		}
	}
	return found
}

// patience bounds everything a test waits for.
const patience = time.Minute

// eventually waits until ok, or fails.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func TestLaunchMountsNothingOnTheHost(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread plays a host whose mounts are all shared, and ends with the goroutine.
		goruntime.LockOSThread()
		must(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
		read := func() string {
			data, err := os.ReadFile("/proc/thread-self/mountinfo")
			must(t, err)
			return string(data)
		}
		before := read()
		p := container(e, "sleep", "1000")
		p.Mounts = append(p.Mounts, program.Mount{Type: "bind", Source: t.TempDir(), Target: "/mnt"})
		r := s.keep(t, p)
		if during := read(); during != before {
			t.Errorf("mounts changed:\n%s\nwere\n%s", during, before)
		}
		inside, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", r.cmd.Process.Pid))
		must(t, err)
		if strings.Contains(string(inside), "/sys/fs/cgroup") || strings.Contains(string(inside), "shared:") {
			t.Errorf("the container sees mounts of the host, or shares its own:\n%s", inside)
		}
	}()
	<-done
}

func TestContainersShareALoopDeviceAndFreeIt(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	const containers = 8
	var wg sync.WaitGroup
	started := make([]*process, containers)
	for i := range started {
		wg.Go(func() { started[i] = s.start(t, "launch", container(e, "sleep", "1000"), newContainer) })
	}
	wg.Wait()
	if loops := loopsOf(t, e.Path); len(loops) != 1 {
		t.Errorf("loop devices = %v, want one", loops)
	}
	for _, r := range started {
		if r.failure != nil {
			t.Error(r.failure)
		}
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
	eventually(t, "the loop device is free", func() bool { return len(loopsOf(t, e.Path)) == 0 })
}

func TestImageAtAnUnalignedOffsetMounts(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	data, err := os.ReadFile(e.Path)
	must(t, err)
	const offset = 11116
	must(t, os.WriteFile(e.Path, append(make([]byte, offset), data...), 0o600))
	e.Offset = offset
	if out, code := s.run(t, container(e, "echo", "up")); code != 0 || out != "up\n" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestLayersLieInTheirOrder(t *testing.T) {
	s := newStage(t)
	base, dir := squashfs(t, nil), t.TempDir()
	must(t, os.MkdirAll(dir+"/upper/etc", 0o755))
	must(t, os.Mkdir(dir+"/work", 0o755))
	must(t, os.WriteFile(dir+"/upper/etc/layer", []byte("ext3"), 0o644))
	if _, err := exec.LookPath("mkfs.ext3"); err != nil {
		t.Skip("needs mkfs.ext3")
	}
	image := filepath.Join(t.TempDir(), "ext3")
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext3", "-q", "-d", dir, image, "4M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext3: %v\n%s", err, out)
	}
	second := squashfs(t, func(root string) {
		must(t, os.WriteFile(filepath.Join(root, "etc/layer"), []byte("second"), 0o644))
		must(t, os.WriteFile(filepath.Join(root, "etc/own"), []byte("+"), 0o644))
	})
	top := program.Extent{Path: image, Size: 4 << 20, FS: "ext3"}
	p := container(base, "cat", "/etc/own", "/etc/layer")
	p.Root.Extents = []program.Extent{base, second, top}
	if out, _ := s.run(t, p); out != "+ext3" {
		t.Errorf("output %q", out)
	}
	p.Root.Extents = []program.Extent{base, top, second}
	if out, _ := s.run(t, p); out != "+second" {
		t.Errorf("output %q", out)
	}
}

func TestAHundredLayersMount(t *testing.T) {
	s := newStage(t)
	base, dir := squashfs(t, nil), t.TempDir()
	must(t, os.MkdirAll(dir+"/etc", 0o755))
	must(t, os.WriteFile(dir+"/etc/layer", []byte("upper"), 0o644))
	layer := filepath.Join(t.TempDir(), "layer")
	if out, err := exec.CommandContext(t.Context(), "mksquashfs", dir, layer, "-quiet").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	data, err := os.ReadFile(layer)
	must(t, err)
	const layers = 100
	must(t, os.WriteFile(layer, bytes.Repeat(data, layers-1), 0o644))
	p := container(base, "cat", "/etc/layer")
	size := int64(len(data))
	for n := range int64(layers - 1) {
		p.Root.Extents = append(p.Root.Extents, program.Extent{Path: layer, Offset: n * size, Size: size, FS: "squashfs"})
	}
	if out, code := s.run(t, p); code != 0 || out != "upper" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestDirectoryServesAsRoot(t *testing.T) {
	s := newStage(t)
	dir := filepath.Join(t.TempDir(), "a:b,c")
	e := squashfs(t, func(root string) { must(t, os.CopyFS(dir, os.DirFS(root))) })
	p := container(e, "/bin/busybox", "touch", "/made")
	p.Root = program.Root{Dir: dir}
	if out, code := s.run(t, p); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := os.Stat(dir + "/made"); err == nil {
		t.Error("the container wrote to the image")
	}
}

func TestMountTargetsStayInsideTheRoot(t *testing.T) {
	s := newStage(t)
	outside := t.TempDir()
	e := squashfs(t, func(root string) {
		must(t, os.Symlink("/etc", filepath.Join(root, "data")))
		must(t, os.Symlink("../../../../.."+outside, filepath.Join(root, "up")))
		must(t, os.Symlink(outside+"/resolv", filepath.Join(root, "etc/resolv.conf")))
	})
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "f"), []byte("bound"), 0o600))
	p := container(e, "sh", "-c", "cat /etc/sub/f /etc/resolv.conf; grep -c "+outside+" /proc/self/mountinfo")
	p.Mounts = append(p.Mounts,
		program.Mount{Type: "bind", Source: source, Target: "/data/sub"},
		program.Mount{Type: "bind", Source: source, Target: "/up/x"},
		program.Mount{Type: "bind", Source: source + "/f", Target: "/etc/resolv.conf"},
		program.Mount{Type: "bind", Source: source, Target: "/../../../../../.." + outside + "/y"})
	if out, _ := s.run(t, p); out != "boundbound3\n" {
		t.Errorf("output %q", out)
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("made on the host: %v", left)
	}
}

func TestProcCannotBeMountedOverOrThroughASymlink(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, func(root string) {
		must(t, os.Remove(filepath.Join(root, "proc")))
		must(t, os.Symlink("/tmp", filepath.Join(root, "proc")))
	})
	if f, _ := s.fails(t, container(e, "true")); f.Step != "mount /proc" {
		t.Errorf("failure %v", f)
	}
	p := container(squashfs(t, nil), "true")
	p.Mounts = append(p.Mounts, program.Mount{Type: "bind", Source: t.TempDir(), Target: "/proc/self/attr"})
	if f, _ := s.fails(t, p); f.Kind != "invalid" {
		t.Errorf("failure %v", f)
	}
}

func TestMaskedPathsAreEmptyAndReadonlyPathsAreNotWritable(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, func(root string) {
		must(t, os.MkdirAll(filepath.Join(root, "secret"), 0o755))
		must(t, os.WriteFile(filepath.Join(root, "secret/key"), []byte("k"), 0o600))
		must(t, os.WriteFile(filepath.Join(root, "etc/shadow"), []byte("hash"), 0o600))
	})
	p := container(e, "sh", "-c", `ls /secret; wc -c </etc/shadow; touch /secret/x || echo a; touch /etc/x || echo b; touch /y && echo c; wc -c </proc/keys`)
	p.MaskedPaths = append(p.MaskedPaths, "/secret", "/etc/shadow", "/no/such/path")
	p.ReadonlyPaths = append(p.ReadonlyPaths, "/etc")
	out, _ := s.run(t, p)
	want := "0\ntouch: /secret/x: Read-only file system\na\ntouch: /etc/x: Read-only file system\nb\nc\n0\n"
	if out != want {
		t.Errorf("output %q, want %q", out, want)
	}
}

func TestReadonlyRootHasItsMountPoints(t *testing.T) {
	s := newStage(t)
	p := container(squashfs(t, nil), "sh", "-c", "touch /x || touch /tmp/y || pwd; touch /vol/z && echo ok")
	p.Root.Readonly = true
	p.Process.Cwd, p.Process.CreateCwd = "/srv/app", true
	p.Mounts = append(p.Mounts, program.Mount{Type: "tmpfs", Target: "/vol"})
	out, _ := s.run(t, p)
	if !strings.HasSuffix(out, "/srv/app\nok\n") || strings.Count(out, "Read-only file system") != 2 {
		t.Errorf("output %q", out)
	}
}

func TestUpperDirectoryKeepsWhatTheContainerWrote(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	dir := filepath.Join(t.TempDir(), "a,b:c") // what separates overlay's options
	must(t, os.Mkdir(dir, 0o700))
	p := container(e, "sh", "-c", "echo kept >/file; stat -c %a /")
	p.Root.Upper, p.Root.Work = dir+"/upper", dir+"/work"
	if out, _ := s.run(t, p); out != "755\n" {
		t.Errorf("mode of / = %q, want the image's 755", out)
	}
	if data, _ := os.ReadFile(dir + "/upper/file"); string(data) != "kept\n" {
		t.Errorf("upper/file = %q", data)
	}
	p.Process.Args = []string{"cat", "/file"}
	if out, _ := s.run(t, p); out != "kept\n" {
		t.Errorf("second start reads %q", out)
	}
}

func TestBindsAreReadonlyAsAsked(t *testing.T) {
	s := newStage(t)
	source := t.TempDir()
	p := container(squashfs(t, nil), "sh", "-c", "touch /a/x || touch /b/y && echo ok; ls /c || echo none")
	p.Mounts = append(p.Mounts,
		program.Mount{Type: "bind", Source: source, Target: "/a", Readonly: true, RecursiveReadonly: true, Recursive: true},
		program.Mount{Type: "bind", Source: source, Target: "/b", Propagation: "slave"},
		program.Mount{Type: "bind", Source: source + "/no", Target: "/c", Optional: true})
	if out, _ := s.run(t, p); !strings.Contains(out, "/a/x: Read-only") || !strings.Contains(out, "ok\n") || !strings.HasSuffix(out, "none\n") {
		t.Errorf("output %q", out)
	}
	p.Mounts[len(p.Mounts)-1].Optional = false
	if f, _ := s.fails(t, p); f.Step != "mount /c" || f.Kind != "not_found" {
		t.Errorf("failure %+v", f)
	}
	p.Mounts = []program.Mount{{Type: "bind", Source: source, Target: "/b", Propagation: "shared"}}
	if f, _ := s.fails(t, p); !strings.Contains(f.Reason, "not a shared mount of the host") {
		t.Errorf("failure %+v", f)
	}
}

func TestImageVolumeShowsADirectoryOfAnImage(t *testing.T) {
	s := newStage(t)
	volume := squashfs(t, func(root string) { must(t, os.WriteFile(filepath.Join(root, "etc/model"), []byte("m"), 0o644)) })
	p := container(squashfs(t, nil), "sh", "-c", "cat /vol/model; touch /vol/x")
	p.Mounts = append(p.Mounts, program.Mount{Target: "/vol", Source: "etc", Image: []program.Extent{volume}})
	if out, _ := s.run(t, p); out != "mtouch: /vol/x: Read-only file system\n" {
		t.Errorf("output %q", out)
	}
	p.Mounts[len(p.Mounts)-1].Source = "none/such"
	if f, _ := s.fails(t, p); f.Kind != "not_found" {
		t.Errorf("failure %+v", f)
	}
}

func TestContainersShareMemoryThroughTheHolder(t *testing.T) {
	s := newStage(t)
	e := squashfs(t, nil)
	ns := make(chan linux.FD)
	go func() {
		goruntime.LockOSThread()
		must(t, unix.Unshare(unix.CLONE_FS))
		fd, err := linux.TmpfsNamespace(t.TempDir(), 1<<20, "")
		if err != nil {
			t.Error(err)
		}
		ns <- fd
	}()
	holder := os.NewFile(uintptr(<-ns), "holder")
	defer closeAll(t, holder)
	for _, step := range [][2]string{{"echo shared >/dev/shm/f", ""}, {"cat /dev/shm/f", "shared\n"}} {
		p := container(e, "sh", "-c", step[0])
		p.Mounts[4] = program.Mount{Type: "shm", Target: "/dev/shm", NoExec: true}
		r := s.start(t, "launch", p, newContainer, holder)
		_ = r.cmd.Wait()
		if r.failure != nil || r.out.String() != step[1] {
			t.Errorf("%s: %v, output %q", step[0], r.failure, r.out.String())
		}
	}
}

func TestCgroupMountShowsTheContainersOwn(t *testing.T) {
	s := newStage(t)
	for _, private := range []bool{true, false} {
		p := container(squashfs(t, nil), "sh", "-c", "test -e /sys/fs/cgroup/cgroup.procs || test -e /sys/fs/cgroup/memory/cgroup.procs && echo ok")
		p.Namespaces.Cgroup = private
		p.Mounts = append(p.Mounts, program.Mount{Type: "cgroup", Target: "/sys/fs/cgroup", Readonly: true, NoSuid: true, NoDev: true, NoExec: true})
		if out, _ := s.run(t, p); out != "ok\n" {
			t.Errorf("private %v: output %q", private, out)
		}
	}
}
