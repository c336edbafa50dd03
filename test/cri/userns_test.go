package cri_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	hostUIDs = 100000
	hostGIDs = 200000
	mapped   = 65536
)

// mapping is a user namespace with ids of the node of its own.
func mapping() *criapi.UserNamespace {
	return &criapi.UserNamespace{
		Mode: criapi.NamespaceMode_POD,
		Uids: []*criapi.IDMapping{{HostId: hostUIDs, Length: mapped}},
		Gids: []*criapi.IDMapping{{HostId: hostGIDs, Length: mapped}},
	}
}

// mapsUsers skips the test where the kernel can't do it, once it has seen that the
// agent says so and refuses.
func (a *agent) mapsUsers() {
	a.t.Helper()
	s, err := a.Status(within(a.t), &criapi.StatusRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range s.RuntimeHandlers {
		if h.Features.UserNamespaces != s.Features.UserNamespacesHostNetwork {
			a.t.Errorf("handler %q: %v, but %v", h.Name, h.Features, s.Features)
		}
	}
	if s.Features.UserNamespacesHostNetwork {
		return
	}
	c := podConfig(a, "refused")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{UsernsOptions: mapping()}}
	_, err = a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c})
	if err == nil || !strings.Contains(err.Error(), "no user namespaces on this node: ") {
		a.t.Errorf("RunPodSandbox: %v, want it refused with the reason", err)
	}
	a.t.Skipf("this kernel can't: %v", err)
}

// mappedPod is a pod with a user namespace of its own.
func (a *agent) mappedPod(name string, o *criapi.NamespaceOption) (string, *criapi.PodSandboxConfig) {
	a.t.Helper()
	c := podConfig(a, name)
	o.UsernsOptions = mapping()
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: o}
	return a.pod(c), c
}

// mappedContainer is a container of such a pod, with further capabilities.
func mappedContainer(p *criapi.PodSandboxConfig, name, image string, caps ...string) *criapi.ContainerConfig {
	c := containerConfig(name, image, "sleep", "1000")
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
		NamespaceOptions: p.Linux.SecurityContext.NamespaceOptions,
		Capabilities:     &criapi.Capability{AddCapabilities: caps},
	}
	return c
}

// says checks what scripts print, their words separated by single spaces.
func (a *agent) says(id string, want map[string]string) {
	a.t.Helper()
	for script, text := range want {
		out := a.execSync(id, "sh", "-c", "("+script+") 2>&1")
		if got := strings.Join(strings.Fields(string(out.Stdout)), " "); got != text {
			a.t.Errorf("%s: %q, want %q", script, got, text)
		}
	}
}

// owner is the owner of a file on the node.
func owner(t *testing.T, path string) string {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Uid, ":", st.Gid)
}

func TestPodHasUserNamespaceOfItsOwn(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	image := busybox(t)
	for name, o := range map[string]*criapi.NamespaceOption{
		"own-pid": {Pid: criapi.NamespaceMode_CONTAINER}, "shared-pid": {}, "host-net": {Network: criapi.NamespaceMode_NODE},
	} {
		t.Run(name, func(t *testing.T) {
			pod, p := a.mappedPod(name, o)
			id := a.launch(pod, mappedContainer(p, "c", image, "NET_ADMIN", "SYS_ADMIN"), p)
			want := map[string]string{
				"cat /proc/self/uid_map /proc/self/gid_map":                    "0 100000 65536 0 200000 65536",
				"id -u; id -g; stat -c %u:%g / /etc/hosts /dev/null":           "0 0 0:0 0:0 0:0",
				"mkdir /m; mount -t tmpfs x /m && touch /m/x && ls /m":         "x",
				"ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu":         "1400",
				"echo 1 >/proc/sys/net/ipv4/ip_forward; hostname me; hostname": "me",
				"mknod /n c 1 1": "mknod: /n: Operation not permitted",
				"unshare -m -p -f --mount-proc sh -c 'echo $$'": "1",
			}
			if name == "host-net" {
				want["ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu"] = "ip: SIOCSIFMTU: Operation not permitted"
				delete(want, "echo 1 >/proc/sys/net/ipv4/ip_forward; hostname me; hostname")
				want["hostname me"] = "hostname: sethostname: Operation not permitted"
				want["touch /sys/x"] = "touch: /sys/x: Read-only file system"
			}
			a.says(id, want)
			s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Status.Linux.Namespaces.Options; got.UsernsOptions.String() != mapping().String() || !strings.Contains(s.Info["info"], `"host":100000`) {
				t.Errorf("status = %v, info %s", got, s.Info["info"])
			}
		})
	}
}

func TestFilesInUserNamespace(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER})
	c := mappedContainer(p, "c", busybox(t))
	mappedDir, plain := a.dir+"/mapped", a.dir+"/plain"
	for _, dir := range []string{mappedDir, plain} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	c.Mounts = []*criapi.Mount{
		{HostPath: mappedDir, ContainerPath: "/mapped", UidMappings: mapping().Uids, GidMappings: mapping().Gids},
		{HostPath: plain, ContainerPath: "/deep/plain"},
	}
	c.Devices = []*criapi.Device{{HostPath: "/dev/null", ContainerPath: "/dev/mine", Permissions: "rw"}, {HostPath: "/dev/loop-control", ContainerPath: "/dev/loops", Permissions: "rw"}}
	id := a.launch(pod, c, p)
	a.says(id, map[string]string{
		"for f in /new /mapped/new /deep/plain/new /dev/shm/new; do touch $f; chown 5:6 $f; stat -c %u:%g $f; done": "5:6 5:6 5:6 5:6",
		"stat -c %u:%g / /bin /deep /mapped /dev /dev/shm /dev/pts /dev/mqueue":                                     "0:0 0:0 0:0 0:0 0:0 0:0 0:0 0:0",
		// The node's files are nobody's in there, and so are devices that not everybody may use.
		"stat -c %u:%g /deep/plain /dev/loops; : </dev/loops":                        "65534:65534 65534:65534 sh: can't open /dev/loops: Permission denied",
		"echo x >/dev/mine; echo 127.0.0.1 me >>/etc/hosts && grep -c me /etc/hosts": "1",
	})
	upper := filepath.Join(a.dir, "state/instances", pod, "containers", id, "upper")
	for path, want := range map[string]string{
		upper: "100000:200000", upper + "/new": "100005:200006", upper + "/deep": "100000:200000",
		mappedDir: "0:0", mappedDir + "/new": "5:6", plain + "/new": "100005:200006",
	} {
		if got := owner(t, path); got != want {
			t.Errorf("%s belongs to %s, want %s", strings.TrimPrefix(path, a.dir), got, want)
		}
	}
	if got := a.status(id).Mounts; len(got) != 2 || got[0].UidMappings[0].HostId != hostUIDs || got[0].GidMappings[0].HostId != hostGIDs || len(got[1].UidMappings) != 0 {
		t.Errorf("status shows mounts %v", got)
	}
}

func TestUsersInUserNamespace(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	image := busybox(t)
	c := mappedContainer(p, "c", image)
	c.Command = []string{"sh", "-c", "echo told >/dev/stdout; exec sleep 1000"}
	c.Linux.SecurityContext.RunAsUser = &criapi.Int64Value{Value: 1000}
	c.Linux.SecurityContext.RunAsGroup = &criapi.Int64Value{Value: 1001}
	c.Linux.SecurityContext.SupplementalGroups = []int64{7, 9}
	c.Linux.SecurityContext.SupplementalGroupsPolicy = criapi.SupplementalGroupsPolicy_Strict
	c.Linux.SecurityContext.NoNewPrivs = true
	c.Linux.SecurityContext.Seccomp = &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_RuntimeDefault}
	id := a.launch(pod, c, p)
	a.says(id, map[string]string{
		"id -u; id -g; id -G": "1000 1001 1001 7 9",
		"grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status": "CapEff: 0000000000000000 CapBnd: 00000000a80425fb NoNewPrivs: 1 Seccomp: 2",
		"echo out >/dev/stdout": "out",
	})
	eventually(t, "what the process writes to /dev/stdout", func() bool { return strings.Contains(readLog(t, a.status(id)), " stdout F told") })
	u := a.status(id).User.Linux
	if u.Uid != 1000 || u.Gid != 1001 || fmt.Sprint(u.SupplementalGroups) != "[7 9 1001]" {
		t.Errorf("status shows user %v", u)
	}
	out := dialers()["SPDY"](t, a.execURL(id, true, true, "sh", "-c", "tty; stat -c %u $(tty); exit 4"), true, true)
	defer out.close()
	if got := lines(out.out); len(got) != 2 || got[0] != "/dev/pts/0\r" || got[1] != "1000\r" {
		t.Errorf("on a terminal: %q", got)
	}
	if got := out.verdict(); got != "exit code 4" {
		t.Errorf("verdict = %q, want exit code 4", got)
	}
	beyond := mappedContainer(p, "beyond", image)
	beyond.Linux.SecurityContext.RunAsUser = &criapi.Int64Value{Value: mapped}
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: beyond, SandboxConfig: p})
	if want := "run_as_user: " + strconv.Itoa(mapped) + " is not mapped"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a user who is not mapped: %v, want %q", err, want)
	}
}
