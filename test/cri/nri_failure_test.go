package cri_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestNRIPluginsRefuseAndNothingIsLeft(t *testing.T) {
	a := start(t)
	refuse := true
	no := func() error {
		if refuse {
			return errors.New("not today")
		}
		return nil
	}
	p := &plugin{
		onRun:    func(context.Context, *api.PodSandbox) error { return no() },
		onCreate: func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) { return nil, nil, no() },
		onStart:  func(*api.Container) error { return no() },
		onUpdate: func(*api.Container, *api.LinuxResources) ([]*api.ContainerUpdate, error) { return nil, no() },
	}
	p.connect(t, a, "10")
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "not today") || !strings.Contains(err.Error(), "NRI plugin 10-test: ") {
			t.Errorf("%s: %v, want what the plugin says, and its name", what, err)
		}
	}
	c := podConfig(a, "pod")
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: c})
	refused("RunPodSandbox", err)
	p.hears(t, "synchronize", "run pod", "stop pod", "remove pod")
	pods, err := a.ListPodSandbox(within(t), &criapi.ListPodSandboxRequest{})
	if err != nil || len(pods.Items) != 0 {
		t.Errorf("pods = %v, %v; want none", pods, err)
	}
	left, err := filepath.Glob(a.dir + "/*/instances/*")
	if err != nil || len(left) != 0 {
		t.Errorf("left: %q, %v", left, err)
	}

	refuse = false
	pod := a.pod(c)
	refuse = true
	config := containerConfig("c", busybox(t), "sleep", "1000")
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: c})
	refused("CreateContainer", err)
	p.hears(t, "run pod", "create c", "stop c", "remove c")
	left, err = filepath.Glob(a.dir + "/state/instances/*/containers/*")
	if err != nil || len(left) != 0 {
		t.Errorf("left: %q, %v", left, err)
	}

	refuse = false
	id := a.create(pod, config, c)
	refuse = true
	_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	refused("StartContainer", err)
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("container = %v, want it ended", s)
	}
	p.hears(t, "create c", "created c", "start c", "stop c")
	refuse = false
	again := containerConfig("again", busybox(t), "sleep", "1000")
	id = a.launch(pod, again, c)
	refuse = true
	_, err = a.UpdateContainerResources(within(t), &criapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: &criapi.LinuxContainerResources{CpuShares: 512}})
	refused("UpdateContainerResources", err)
	refuse = false
}

func TestNRIValidatorsJudgeWhatOthersWant(t *testing.T) {
	a := start(t)
	p := &plugin{onCreate: func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
		d := &api.ContainerAdjustment{}
		d.AddEnv("BAD", "1")
		return d, nil, nil
	}}
	p.connect(t, a, "10")
	judge := &plugin{validate: func(r *api.ValidateContainerAdjustmentRequest) error {
		if slices.ContainsFunc(r.Adjust.Env, func(e *api.KeyValue) bool { return e.Key == "BAD" }) {
			return errors.New("that is bad")
		}
		return nil
	}}
	judge.connect(t, a, "90")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("c", busybox(t), "true"), SandboxConfig: c})
	if err == nil || !strings.Contains(err.Error(), "that is bad") || !strings.Contains(err.Error(), "90-test") {
		t.Errorf("CreateContainer: %v, want what the validator says", err)
	}
}

func TestNRIRequiredPluginsMustBeThere(t *testing.T) {
	a := start(t, "--nri-required-plugins", "test")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	config := containerConfig("c", busybox(t), "true")
	if _, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: c}); err == nil || !strings.Contains(err.Error(), "test") {
		t.Errorf("CreateContainer: %v, want an error that names the missing plugin", err)
	}
	(&plugin{}).connect(t, a, "10")
	a.create(pod, config, c)
}

func TestNRIPluginsThatHangOrDieAreLeftBehind(t *testing.T) {
	a := start(t, "--nri-request-timeout", "3s")
	slow := &plugin{onRun: func(ctx context.Context, _ *api.PodSandbox) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	slow.connect(t, a, "10")
	good := &plugin{}
	good.connect(t, a, "20")
	began := time.Now()
	pod := a.pod(podConfig(a, "one"))
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the pod took %s, want the time that a plugin has", took)
	}
	good.hears(t, "synchronize", "run one")
	slow.hears(t, "synchronize", "run one")
	a.pod(podConfig(a, "two"))
	good.hears(t, "run two")
	if got := slow.events(); len(got) != 0 {
		t.Errorf("a plugin that had hung heard %q", got)
	}
	good.Stop()
	a.pod(podConfig(a, "three"))
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
	if got := good.events(); len(got) != 0 {
		t.Errorf("a plugin that had left heard %q", got)
	}
}

func TestNRIPluginsUpdateAndEvictOfTheirOwnAccord(t *testing.T) {
	a := start(t)
	var evict string
	p := &plugin{}
	p.options = append(p.options, stub.WithTTRPCOptions([]ttrpc.ClientOpts{ttrpc.WithUnaryClientInterceptor(
		func(ctx context.Context, q *ttrpc.Request, r *ttrpc.Response, _ *ttrpc.UnaryClientInfo, next ttrpc.Invoker) error {
			var u api.UpdateContainersRequest
			if q.Method != "UpdateContainers" || evict == "" || proto.Unmarshal(q.Payload, &u) != nil {
				return next(ctx, q, r)
			}
			u.Evict = []*api.ContainerEviction{{ContainerId: evict, Reason: "the test wants it"}}
			var err error
			if q.Payload, err = proto.Marshal(&u); err != nil {
				return err
			}
			return next(ctx, q, r)
		},
	)}, nil))
	p.connect(t, a, "10")
	c := podConfig(a, "pod")
	pod := a.pod(c)
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), c)
	update := func(id string, shares uint64) *api.ContainerUpdate {
		u := &api.ContainerUpdate{}
		u.SetContainerId(id)
		u.SetLinuxCPUShares(shares)
		return u
	}
	if failed, err := p.UpdateContainers([]*api.ContainerUpdate{update(id, 800)}); err != nil || len(failed) != 0 {
		t.Errorf("UpdateContainers: %v, %v", failed, err)
	}
	if got := a.status(id).Resources.Linux.CpuShares; got != 800 {
		t.Errorf("shares = %d, want 800", got)
	}
	failing := update("nothing", 5)
	if failed, err := p.UpdateContainers([]*api.ContainerUpdate{failing, update(id, 900)}); err == nil && len(failed) != 1 {
		t.Errorf("UpdateContainers of nothing: %v, %v; want it among those that failed", failed, err)
	}
	if got := a.status(id).Resources.Linux.CpuShares; got != 900 {
		t.Errorf("shares = %d, want 900: one that fails is no reason for others to", got)
	}
	// A plugin may ask while it is being asked.
	p.onCreate = func(*api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
		_, err := p.UpdateContainers([]*api.ContainerUpdate{update(id, 950)})
		return nil, []*api.ContainerUpdate{}, err
	}
	a.create(pod, containerConfig("d", busybox(t), "true"), c)
	if got := a.status(id).Resources.Linux.CpuShares; got != 950 {
		t.Errorf("shares = %d, want 950", got)
	}
	evict = id
	if _, err := p.UpdateContainers(nil); err != nil {
		t.Errorf("UpdateContainers: %v", err)
	}
	a.exited(id)
	eventually(t, "the plugin to hear of the end", func() bool { return slices.Contains(p.events(), "stop c") })
}

func TestNRIInstalledPluginsMustBeRootsAlone(t *testing.T) {
	a := start(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/10-mine", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/10-mine", 0o777); err != nil {
		t.Fatal(err)
	}
	a.stop()
	good := a.args
	a.args = []string{"--nri-plugin-path", dir}
	out, err := exec.CommandContext(within(t), filepath.Join(programs, "siflet"), a.flags()...).CombinedOutput()
	if said := string(out); err == nil || !strings.Contains(said, "10-mine") || !strings.Contains(said, "chmod") {
		t.Errorf("the agent says %q, %v; want the plugin named", said, err)
	}
	a.args = good
	a.run()
}
