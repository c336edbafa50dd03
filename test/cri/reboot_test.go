package cri_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/kubetest"
)

// reboot ends all processes of the agent and its pods, takes away what is in memory alone,
// gives the kernel another boot ID and starts the agent; image is one that is in use.
func (a *agent) reboot(image string) {
	a.t.Helper()
	a.end(syscall.SIGKILL)
	eventually(a.t, "all processes to end", func() bool { return kubetest.KillCgroup(a.parent) == nil })
	eventually(a.t, "mounts and loop devices to go with them", func() bool { return loops(a.t, image) == 0 })
	pins, err := filepath.Glob("/run/netns/*")
	err = errors.Join(err, kubetest.RemoveCgroup(a.parent))
	for _, pin := range pins {
		err = errors.Join(err, syscall.Unmount(pin, syscall.MNT_DETACH), os.Remove(pin))
	}
	if link, failed := netlink.LinkByName("siflet0"); failed == nil {
		err = errors.Join(err, netlink.LinkDel(link))
	}
	rules, failed := nftables.New()
	if failed == nil {
		rules.FlushRuleset()
		failed = rules.Flush()
	}
	err = errors.Join(err, failed, os.RemoveAll(a.dir+"/run"))
	if err != nil {
		a.t.Fatal(err)
	}
	kubetest.AnotherBoot(a.t)
	a.run()
}

// loops says how many loop devices show a file.
func loops(t *testing.T, file string) (n int) {
	t.Helper()
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, _ := os.ReadFile(name) // devices come and go
		if strings.TrimSpace(string(text)) == file {
			n++
		}
	}
	return n
}

func (a *agent) podState(id string) *criapi.PodSandboxStatus {
	a.t.Helper()
	got, err := a.PodSandboxStatus(within(a.t), &criapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		a.t.Fatal(err)
	}
	return got.Status
}

// What the records say of a boot that is over is what a kubelet needs to go on: which containers
// had ended by themselves and how, and that the others are no more.
func TestAfterARebootAllIsKnownAndNothingHeld(t *testing.T) {
	// Five addresses beside the bridge's own.
	a := start(t, "--network", "bridge", "--subnet", "10.213.1.0/29")
	image := busybox(t)
	const pods = 5
	var before []string
	var config *criapi.PodSandboxConfig
	for n := range pods {
		config = podConfig(a, "p"+strconv.Itoa(n))
		config.PortMappings = []*criapi.PortMapping{{HostPort: int32(30300 + n), ContainerPort: 80}} //nolint:gosec // few
		before = append(before, a.pod(config))
	}
	pod := before[pods-1]
	withVolume := containerConfig("runs", image, "sh", "-c", "echo begun; echo kept >/written; sleep 1000")
	withVolume.Mounts = []*criapi.Mount{{ContainerPath: "/volume", Image: &criapi.ImageSpec{Image: image}, Readonly: true}}
	withVolume.Envs = []*criapi.KeyValue{{Key: "WHO", Value: []byte("me")}}
	runs := a.launch(pod, withVolume, config)
	eventually(t, "the container to have begun", func() bool { return strings.Contains(readLog(t, a.status(runs)), "begun") })
	ended := map[string]*criapi.ContainerStatus{}
	for name, command := range map[string]string{"succeeded": "exit 0", "failed": "exit 3"} {
		id := a.launch(pod, containerConfig(name, image, "sh", "-c", command), config)
		ended[id] = a.exited(id)
	}
	created := a.create(pod, containerConfig("created", image, "true"), config)
	path := a.dir + "/state/instances/" + pod
	if loops(t, image) == 0 {
		t.Errorf("no loop device shows %s", image)
	}

	a.reboot(image)

	list, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{})
	if err != nil || len(list.Items) != pods {
		t.Errorf("pods = %v, %v; want %d", list, err, pods)
	}
	for _, p := range list.GetItems() {
		if p.State != criapi.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("pod = %v, want it not ready", p)
		}
	}
	lost := a.status(runs)
	for range 2 { // by the agent that found out, and by the next one
		got := a.status(runs)
		if got.State != criapi.ContainerState_CONTAINER_EXITED || got.ExitCode != 255 || got.Reason != "Unknown" || got.StartedAt == 0 ||
			got.FinishedAt < got.StartedAt || got.FinishedAt != lost.FinishedAt || !strings.Contains(got.Message, "the machine was started anew") {
			t.Errorf("status = %v, want code 255, Unknown, and what happened", got)
		}
		if text := readLog(t, got); !strings.Contains(text, "begun") {
			t.Errorf("log = %q, want what it was", text)
		}
		for id, was := range ended {
			if got := a.status(id); got.State != was.State || got.ExitCode != was.ExitCode || got.Reason != was.Reason || got.FinishedAt != was.FinishedAt {
				t.Errorf("status = %v, want what it was, %v", got, was)
			}
		}
		if got := a.status(created); got.State != criapi.ContainerState_CONTAINER_CREATED {
			t.Errorf("status = %v, want created", got)
		}
		a.end(syscall.SIGTERM)
		a.run()
	}
	_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created})
	wantRefusal(t, "StartContainer", err, "FailedPrecondition", pod)
	if _, err := a.ListContainerStats(within(t), &criapi.ListContainerStatsRequest{}); err != nil {
		t.Error(err)
	}

	// A kubelet makes pods anew before it removes the old ones.
	for n := range pods {
		config = podConfig(a, "p"+strconv.Itoa(n))
		config.Metadata.Attempt = 1
		config.PortMappings = []*criapi.PortMapping{{HostPort: int32(30300 + n), ContainerPort: 80}} //nolint:gosec // few
		made := a.pod(config)
		again := containerConfig("runs", image, "sh", "-c", "[ ! -e /written ] && sleep 1000")
		again.Metadata.Attempt = 1
		id := a.launch(made, again, config)
		a.execSync(id, "true")
		if s := a.podState(made); s.State != criapi.PodSandboxState_SANDBOX_READY || s.Network.GetIp() == "" {
			t.Errorf("pod = %v, want it ready with an address", s)
		}
	}
	if _, err := os.Stat(path + "/containers/" + runs + "/upper"); err != nil {
		t.Errorf("what the container wrote: %v, want it there until the container is removed", err)
	}
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: runs}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + "/containers/" + runs); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: what a removed container wrote: %v", err)
	}
	for _, id := range before {
		if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Error(err)
		}
		if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Error(err)
		}
	}
	again := podConfig(a, "p0")
	again.Metadata.Attempt = 2
	again.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE}}
	a.pod(again)
	a.removeAll()
	a.checkNoPod()
	held, err := filepath.Glob(a.dir + "/state/network/*/addr/*")
	if err != nil || len(held) > 0 {
		t.Errorf("left behind: addresses %v, %v", held, err)
	}
}
