package cri_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

func TestMappedPodOutlivesTheAgent(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	image := busybox(t)
	c := mappedContainer(p, "c", image)
	c.Linux.SecurityContext.RunAsUser = &criapi.Int64Value{Value: 7}
	stays := a.launch(pod, c, p)
	waits := a.create(pod, mappedContainer(p, "waits", image), p)
	a.end(syscall.SIGKILL)
	a.run()
	const maps = "0 100000 65536"
	a.says(stays, map[string]string{"cat /proc/self/uid_map": maps, "id -u": "7"})
	if u := a.status(stays).User.GetLinux(); u.GetUid() != 7 {
		t.Errorf("status shows user %v, want 7", u)
	}
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: waits}); err != nil {
		t.Fatal(err)
	}
	a.says(waits, map[string]string{"cat /proc/self/uid_map": maps})
	s, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || s.Status.Linux.Namespaces.Options.UsernsOptions.String() != mapping().String() {
		t.Errorf("pod status = %v, %v", s, err)
	}
	stats, err := a.ContainerStats(within(t), &criapi.ContainerStatsRequest{ContainerId: waits})
	if err != nil || stats.Stats.Memory.GetWorkingSetBytes().GetValue() == 0 {
		t.Errorf("stats = %v, %v; want memory", stats, err)
	}
	if _, err := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: waits, Timeout: 1}); err != nil {
		t.Error(err)
	}
	if got := a.status(waits); got.State != criapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("stopped container = %v", got)
	}
}

func TestMappedPodHasSysctlsOfItsOwn(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	c := podConfig(a, "p")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{UsernsOptions: mapping()}}
	c.Linux.Sysctls = map[string]string{
		"net.ipv4.ip_local_port_range": "1024 65000", "kernel.shm_rmid_forced": "1", "kernel.msgmax": "9000", "fs.mqueue.msg_max": "20",
	}
	pod := a.pod(c)
	id := a.launch(pod, mappedContainer(c, "c", busybox(t)), c)
	a.says(id, map[string]string{
		"cd /proc/sys; cat net/ipv4/ip_local_port_range kernel/shm_rmid_forced kernel/msgmax fs/mqueue/msg_max": "1024 65000 1 9000 20",
	})
}

func TestPrivilegedInUserNamespaceIsPrivilegedThereAlone(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	c := podConfig(a, "p")
	c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &criapi.NamespaceOption{UsernsOptions: mapping()}, Privileged: true,
	}
	pod := a.pod(c)
	config := mappedContainer(c, "c", busybox(t))
	config.Linux.SecurityContext.Privileged = true
	id := a.launch(pod, config, c)
	a.says(id, map[string]string{
		"grep -c 'CapEff:.*1ffffffffff' /proc/self/status; mkdir /m; mount -t tmpfs x /m && echo mounted": "1 mounted",
		": 3<>/dev/loop-control":                              "sh: can't create /dev/loop-control: Permission denied",
		"stat -c %u:%g /dev/loop-control; mknod /tmp/n b 7 0": "65534:65534 mknod: /tmp/n: Operation not permitted",
		"echo 1 >/proc/sys/vm/drop_caches":                    "sh: can't create /proc/sys/vm/drop_caches: Permission denied",
		"cat /proc/1/root/etc/hostname":                       "cat: can't open '/proc/1/root/etc/hostname': Permission denied",
	})
}

func TestImagesInUserNamespace(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{
		Entrypoint: []string{"sh", "-c"}, Cmd: []string{`id -u; touch /data/x /new/y && ls -lnd /data /new /data/kept; ls /data /new`},
		User: "app:staff", Volumes: map[string]struct{}{"/data": {}, "/new": {}},
	}, busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, data("data/", 4711), registrytest.File("data/kept", ""), data("new/", 4711))))
	a := mirrored(t, s)
	a.mapsUsers()
	image := a.mustPull("app")
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	c := mappedContainer(p, "c", image)
	c.Command, c.Linux.SecurityContext.ReadonlyRootfs = nil, true
	ended := a.exited(a.launch(pod, c, p))
	text := strings.Join(strings.Fields(said(t, ended)), " ")
	if ended.ExitCode != 0 || !strings.HasPrefix(text, "4711 drwxr-xr-x 1 4711 0 ") || !strings.HasSuffix(text, " /data: kept x /new: y") {
		t.Errorf("exit code %d, output %q", ended.ExitCode, text)
	}

	native := siftest.Build(t, siftest.Options{Busybox: true, Files: map[string]string{"models/weights": "w\n"}})
	c = mappedContainer(p, "native", native)
	c.Mounts = []*criapi.Mount{volumeMount(image, ""), volumeMount(native, "models")}
	c.Mounts[1].ContainerPath = "/models"
	c.Mounts[0].UidMappings, c.Mounts[0].GidMappings = mapping().Uids, mapping().Gids
	id := a.launch(pod, c, p)
	a.says(id, map[string]string{
		"echo $SINGULARITY_NAME; stat -c %u /vol/data /vol/data/kept /vol /models/weights": "image.sif 4711 0 0 0",
		"touch /models/x": "touch: /models/x: Read-only file system",
	})
}

func TestFilesOnTheNodeAreNobodysToAMappedPod(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	dir := filepath.Join(a.dir, "secret")
	if err := os.WriteFile(dir, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod, p := a.mappedPod("p", &criapi.NamespaceOption{})
	c := mappedContainer(p, "c", busybox(t))
	c.Mounts = []*criapi.Mount{{HostPath: dir, ContainerPath: "/secret"}}
	id := a.launch(pod, c, p)
	a.says(id, map[string]string{"cat /secret": "cat: can't open '/secret': Permission denied"})
	c = mappedContainer(p, "proc", busybox(t))
	c.Mounts = []*criapi.Mount{{HostPath: "/proc", ContainerPath: "/host", UidMappings: mapping().Uids, GidMappings: mapping().Gids}}
	if err := a.refusal(pod, c, p); err == nil || !strings.Contains(err.Error(), "takes no idmapped mounts") {
		t.Errorf("ids of /proc mapped: %v", err)
	}
}

func TestMappedMountsNeedNoUserNamespace(t *testing.T) {
	a := start(t)
	a.mapsUsers()
	for name, mode := range map[string]criapi.NamespaceMode{
		"pod": criapi.NamespaceMode_POD, "container": criapi.NamespaceMode_CONTAINER, "node": criapi.NamespaceMode_NODE,
	} {
		p := podConfig(a, name)
		p.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Pid: mode},
		}
		pod := a.pod(p)
		source := a.dir + "/source-" + name
		if err := errors.Join(os.Mkdir(source, 0o755), os.Chown(source, 5, 6)); err != nil {
			t.Fatal(err)
		}
		c := containerConfig("c", busybox(t), "stat", "-c", "%u:%g", "/data")
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{NamespaceOptions: p.Linux.SecurityContext.NamespaceOptions}
		maps := []*criapi.IDMapping{{HostId: 200000, ContainerId: 0, Length: 65536}}
		c.Mounts = []*criapi.Mount{{HostPath: source, ContainerPath: "/data", UidMappings: maps, GidMappings: maps}}
		if got := said(t, a.exited(a.launch(pod, c, p))); got != "200005:200006" {
			t.Errorf("mode %s: the mount is of %s, want 200005:200006", name, got)
		}
	}
}
