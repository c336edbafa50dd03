package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	private = criapi.MountPropagation_PROPAGATION_PRIVATE
	slave   = criapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	shared  = criapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
)

// mountTmpfs mounts a tmpfs at dir, which it makes, until the test ends.
func mountTmpfs(t *testing.T, dir string, propagation uintptr) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if err := syscall.Mount("", dir, "", propagation, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// privilegedPod is a pod for containers that may mount.
func (a *agent) privilegedPod(name string) (string, *criapi.PodSandboxConfig) {
	a.t.Helper()
	c := podConfig(a, name)
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		Privileged: true, NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
	}
	return a.pod(c), c
}

// sh runs a command in a container and wants its output.
func (a *agent) sh(id, command, want string) {
	a.t.Helper()
	got := a.execSync(id, "sh", "-c", command)
	if out := string(got.Stdout) + string(got.Stderr); out != want {
		a.t.Errorf("%s: %q, want %q", command, out, want)
	}
}

// refusal is the error of a container that can't be created or started.
func (a *agent) refusal(pod string, c *criapi.ContainerConfig, p *criapi.PodSandboxConfig) error {
	a.t.Helper()
	made, err := a.CreateContainer(within(a.t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	if err != nil {
		return err
	}
	_, err = a.StartContainer(within(a.t), &criapi.StartContainerRequest{ContainerId: made.ContainerId})
	if _, err := a.RemoveContainer(within(a.t), &criapi.RemoveContainerRequest{ContainerId: made.ContainerId}); err != nil {
		a.t.Error(err)
	}
	return err
}

func TestMountsSpreadAsTheyAreAskedTo(t *testing.T) {
	a := start(t)
	source := mountTmpfs(t, t.TempDir(), syscall.MS_SHARED)
	pod, p := a.privilegedPod("p")
	image := busybox(t)
	modes := map[string]criapi.MountPropagation{"private": private, "slave": slave, "shared": shared}
	ids := map[string]string{}
	for name, mode := range modes {
		c := containerConfig(name, image, "sleep", "1000")
		c.Mounts = []*criapi.Mount{{ContainerPath: "/vol", HostPath: source, Propagation: mode}}
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Privileged: true}
		ids[name] = a.launch(pod, c, p)
	}
	mountTmpfs(t, source+"/host", syscall.MS_SHARED)
	writeFile(t, source+"/host/file", "")
	a.sh(ids["private"], "ls /vol/host", "")
	a.sh(ids["slave"], "ls /vol/host", "file\n")
	a.sh(ids["shared"], "ls /vol/host", "file\n")
	for name, want := range map[string]bool{"private": false, "slave": false, "shared": true} {
		a.sh(ids[name], "mkdir /vol/"+name+" && mount -t tmpfs x /vol/"+name+" && touch /vol/"+name+"/file", "")
		if _, err := os.Stat(source + "/" + name + "/file"); (err == nil) != want {
			t.Errorf("a mount made in the %s container is seen on the host: %t, want %t", name, err == nil, want)
		}
		if got := a.status(ids[name]).Mounts[0].Propagation; got != modes[name] {
			t.Errorf("status of %s says %s", name, got)
		}
	}
	_ = syscall.Unmount(source+"/shared", syscall.MNT_DETACH)
}

func TestMountsThatCannotSpreadAreRefused(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	alone := mountTmpfs(t, t.TempDir(), syscall.MS_PRIVATE)
	peer := mountTmpfs(t, t.TempDir(), syscall.MS_SHARED)
	follower := t.TempDir()
	if err := syscall.Mount(peer, follower, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(follower, syscall.MNT_DETACH) })
	if err := syscall.Mount("", follower, "", syscall.MS_SLAVE, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		source string
		mode   criapi.MountPropagation
		want   string // "" is no refusal
	}{
		{alone, private, ""},
		{alone, slave, "neither a shared nor a slave mount"},
		{alone, shared, "not a shared mount"},
		{follower, slave, ""},
		{follower, shared, "not a shared mount"},
		{peer, slave, ""},
		{peer, shared, ""},
	} {
		config := containerConfig("c", image, "true")
		config.Mounts = []*criapi.Mount{{ContainerPath: "/vol", HostPath: c.source, Propagation: c.mode}}
		err := a.refusal(pod, config, p)
		if c.want == "" {
			wantCode(t, c.mode.String(), err, "OK")
			continue
		}
		wantRefusal(t, c.mode.String(), err, "InvalidArgument", c.want)
		wantRefusal(t, c.mode.String(), err, "InvalidArgument", c.source)
	}
}

func TestReadonlyReachesBelowAMountIfAsked(t *testing.T) {
	a := start(t)
	source := t.TempDir()
	mountTmpfs(t, source+"/below", syscall.MS_PRIVATE)
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Mounts = []*criapi.Mount{
		{ContainerPath: "/ro", HostPath: source, Readonly: true},
		{ContainerPath: "/rro/", HostPath: source + "/", Readonly: true, RecursiveReadOnly: true, MountOptions: []string{"noexec", "nosuid", "nodev"}, SelinuxRelabel: true},
		{ContainerPath: "/rw", HostPath: source, MountOptions: []string{"noexec", "noexec"}},
	}
	id := a.launch(pod, c, p)
	for path, want := range map[string]string{
		"/ro": "touch: /ro/x: Read-only file system\n", "/ro/below": "",
		"/rro": "touch: /rro/x: Read-only file system\n", "/rro/below": "touch: /rro/below/x: Read-only file system\n",
		"/rw": "", "/rw/below": "",
	} {
		a.sh(id, "touch "+path+"/x", want)
	}
	a.sh(id, `grep -cE ' /rro(/below)? ro,nosuid,nodev,noexec[, ]' /proc/self/mountinfo`, "2\n")
	a.sh(id, "printf '#!/bin/sh\necho ran\n' >/rw/run; chmod +x /rw/run; /rw/run", "sh: /rw/run: Permission denied\n")
	for i, got := range a.status(id).Mounts {
		want := c.Mounts[i]
		if got.ContainerPath != want.ContainerPath || got.HostPath != want.HostPath || got.Readonly != want.Readonly ||
			got.RecursiveReadOnly != want.RecursiveReadOnly || got.SelinuxRelabel != want.SelinuxRelabel ||
			i == 1 && strings.Join(got.MountOptions, " ") != "noexec nosuid nodev" || i == 2 && len(got.MountOptions) != 1 {
			t.Errorf("mount %d = %v, want %v", i, got, want)
		}
	}
	status, err := a.Status(within(t), &criapi.StatusRequest{})
	if err != nil || !status.Features.GetMountOptions() || !status.RuntimeHandlers[0].Features.GetRecursiveReadOnlyMounts() {
		t.Errorf("status = %v, %v; want mount options and recursive read-only mounts", status, err)
	}
}

func TestHostPathsAreMadeAndFollowed(t *testing.T) {
	a := start(t)
	dir := t.TempDir()
	writeFile(t, dir+"/file", "text\n")
	for link, target := range map[string]string{"link": "file", "away": dir + "/no/such/place", "back": "made"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	pod, p := a.hostPod("p")
	image := busybox(t)
	c := containerConfig("c", image, "sleep", "1000")
	c.Mounts = []*criapi.Mount{
		{ContainerPath: "/made", HostPath: dir + "/made/of/parts"},
		{ContainerPath: "/new/dir/file", HostPath: dir + "/link", Readonly: true},
		{ContainerPath: "/etc/passwd", HostPath: dir + "/file"},
	}
	id := a.launch(pod, c, p)
	a.sh(id, "touch /made/here; cat /new/dir/file /etc/passwd", "text\ntext\n")
	info, err := os.Stat(dir + "/made/of/parts")
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o755 {
		t.Errorf("host path = %v, %v; want a directory of mode 0755", info, err)
	}
	if _, err := os.Stat(dir + "/made/of/parts/here"); err != nil {
		t.Error(err)
	}
	for _, m := range []struct{ source, target, want string }{
		{dir + "/away", "/x", "symbolic link to " + dir + "/no/such/place, which does not exist"},
		{dir + "/file/below", "/x", "not a directory"},
		{dir + "/file", "/bin", "one of source and target is a directory"},
		{dir + "/made", "/etc/group", "one of source and target is a directory"},
		{dir, "/proc", "only a proc file system"},
		{dir, "/proc/self/attr", "not allowed inside /proc"},
		{dir, "/", "is the root"},
	} {
		config := containerConfig("x", image, "true")
		config.Mounts = []*criapi.Mount{{ContainerPath: m.target, HostPath: m.source}}
		wantRefusal(t, m.source+" at "+m.target, a.refusal(pod, config, p), "InvalidArgument", m.want)
	}
	if _, err := os.Stat(dir + "/no"); err == nil {
		t.Error("the target of a dangling link was made")
	}
}

func TestMountsLieAboveTheirParentsAndDefaults(t *testing.T) {
	a := start(t)
	sources := map[string]string{}
	for _, name := range []string{"sys", "shm", "outer", "inner", "first", "last", "etc"} {
		sources[name] = t.TempDir()
		writeFile(t, sources[name]+"/"+name, "")
	}
	hosts := writeFile(t, t.TempDir()+"/hosts", "mine\n")
	pod, p := a.hostPod("p")
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Mounts = []*criapi.Mount{
		{ContainerPath: "/data/a/b", HostPath: sources["inner"]},
		{ContainerPath: "/data/", HostPath: sources["outer"]},
		{ContainerPath: "/dev/shm", HostPath: sources["shm"]},
		{ContainerPath: "/sys", HostPath: sources["sys"]},
		{ContainerPath: "/etc/hosts", HostPath: hosts},
		{ContainerPath: "/twice", HostPath: sources["first"]},
		{ContainerPath: "/twice", HostPath: sources["last"]},
		{ContainerPath: "/host/proc", HostPath: "/proc"},
	}
	id := a.launch(pod, c, p)
	a.sh(id, "ls /data /data/a/b /dev/shm /twice; ls /sys; cat /etc/hosts; test -d /host/proc/self && grep -c ' /twice ' /proc/self/mountinfo",
		"/data:\na\nouter\n\n/data/a/b:\ninner\n\n/dev/shm:\nshm\n\n/twice:\nlast\nsys\nmine\n2\n")
	if _, err := os.Stat(sources["outer"] + "/a/b/inner"); err == nil {
		t.Error("the inner mount is seen on the host")
	}
}
