package cri_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// policyFile makes a policy.
func policyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.toml")
	writePolicy(t, path, text)
	return path
}

func writePolicy(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// refused checks that the policy refused an image, and that the message says so.
func refused(t *testing.T, what string, err error, code string, wants ...string) {
	t.Helper()
	wantCode(t, what, err, code)
	message := status.Convert(err).Message()
	for _, want := range append(wants, "SignatureValidationFailed: ") {
		if !strings.Contains(message, want) {
			t.Errorf("%s: %q, want %q in it", what, message, want)
		}
	}
}

func TestPolicyRefusesAtPullAndAtStart(t *testing.T) {
	s := registrytest.New(t)
	img := registrytest.Image(t, v1.Config{Cmd: []string{"true"}}, busyboxLayer(t))
	s.Push(t, "library/app:latest", img)
	s.Push(t, "library/other:latest", registrytest.Image(t, v1.Config{Cmd: []string{"sh"}}, busyboxLayer(t)))
	policy := policyFile(t, "")
	a := mirrored(t, s, "--policy", policy)
	id := a.mustPull("app")
	pod, p := a.hostPod("p")
	created := a.create(pod, containerConfig("created", id), p)
	writePolicy(t, policy, "default = \"accept\"\n[[rule]]\nimages = [\"docker.io/library/*\"]\nnamespaces = [\"test\"]\nrequire = \"reject\"\n")
	a.stop()
	a.run()
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created})
	refused(t, "start", err, "PermissionDenied", "docker.io/library/")
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("again", id), SandboxConfig: p})
	refused(t, "create", err, "PermissionDenied", "docker.io/library/")
	_, err = a.images.PullImage(within(t), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: "other"}, SandboxConfig: p})
	refused(t, "pull", err, "Unknown", "docker.io/library/")
	if message := status.Convert(err).Message(); !strings.HasPrefix(message, "SignatureValidationFailed: ") {
		t.Errorf("pull: the kubelet does not know %q", message)
	}
	// Other namespaces may.
	a.mustPull("other")
}

func TestPolicyKnowsALinkAndWhereItLeads(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.sif")
	path := siftest.Build(t, siftest.Options{Busybox: true, Bare: true})
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	policy := policyFile(t, "")
	a := start(t, "--policy", policy)
	pod, p := a.hostPod("p")
	id := a.mustPull(path)
	if got := a.image(link); got != nil {
		t.Errorf("the link is an image before it was pulled: %v", got)
	}
	made := a.create(pod, containerConfig("made", link, "true"), p)
	pull := &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: link}, SandboxConfig: p}
	for _, rejected := range []string{link, path} {
		writePolicy(t, policy, "[[rule]]\nimages = [\""+rejected+"\"]\nrequire = \"reject\"\n")
		_, err := a.images.PullImage(within(t), pull)
		refused(t, "pull", err, "Unknown", rejected)
		_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("again", link), SandboxConfig: p})
		refused(t, "create", err, "PermissionDenied", rejected)
	}
	writePolicy(t, policy, "[[rule]]\nimages = [\""+link+"\"]\nrequire = \"reject\"\n")
	_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made})
	refused(t, "start", err, "PermissionDenied", link)
	// As a kubelet has it: the image is pulled by name and its containers are made by ID.
	a.exited(a.launch(pod, containerConfig("target", path, "true"), p))
	writePolicy(t, policy, "")
	if got := a.mustPull(link); got != id {
		t.Errorf("the link is image %s, want %s", got, id)
	}
	made = a.create(pod, containerConfig("by-id", id, "true"), p)
	writePolicy(t, policy, "[[rule]]\nimages = [\""+link+"\"]\nrequire = \"reject\"\n")
	_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made})
	refused(t, "start by ID", err, "PermissionDenied", link)
}

func TestAgentServesWithAPolicyOfNoUse(t *testing.T) {
	policy := policyFile(t, "\ndefault = reject\n")
	a := start(t, "--policy", policy)
	path := busybox(t)
	pod, p := a.hostPod("p")
	check := func(when string, wants ...string) {
		t.Helper()
		wants = append(wants, policy)
		_, err := a.pull(path)
		refused(t, when+": pull", err, "Unknown", wants...)
		if message := status.Convert(err).Message(); !strings.HasPrefix(message, "SignatureValidationFailed: ") {
			t.Errorf("%s: pull: the kubelet does not know %q", when, message)
		}
		_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: containerConfig("c", path), SandboxConfig: p})
		refused(t, when+": create", err, "PermissionDenied", wants...)
		a.logs(append(wants, "level=ERROR")...)
	}
	check("broken", "line 2")
	writePolicy(t, policy, "")
	a.mustPull(path)
	made := a.create(pod, containerConfig("made", path, "true"), p)
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	check("removed", "there is no such file")
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made})
	refused(t, "removed: start", err, "PermissionDenied", policy)
	a.stop()
	a.run()
	check("absent", "there is no such file")
	writePolicy(t, policy, "")
	a.exited(a.launch(pod, containerConfig("mended", path, "true"), p))
}

func TestPolicyIsAskedAboutWhatIsPulledByID(t *testing.T) {
	policy := policyFile(t, "")
	a := start(t, "--policy", policy)
	path := busybox(t)
	id := a.mustPull(path)
	writePolicy(t, policy, "[[rule]]\nimages = [\""+path+"\"]\nnamespaces = [\"test\"]\nrequire = \"reject\"\n")
	pull := &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: id}, SandboxConfig: podConfig(a, "p")}
	_, err := a.images.PullImage(within(t), pull)
	refused(t, "pull by ID", err, "Unknown", path)
	a.mustPull(id) // other namespaces may
}

func TestABrokenPolicyKeepsNothingFromBeingTakenAway(t *testing.T) {
	policy := policyFile(t, "")
	s := registrytest.New(t)
	s.Push(t, "library/app:latest", registrytest.Image(t, v1.Config{Cmd: []string{"sleep", "1000"}}, busyboxLayer(t)))
	a := mirrored(t, s, "--policy", policy)
	id := a.mustPull("app")
	first, p := a.hostPod("first")
	running := a.launch(first, containerConfig("c", id), p)
	second, p := a.hostPod("second")
	a.launch(second, containerConfig("c", id), p)
	writePolicy(t, policy, "bad")
	for _, when := range []string{"broken", "taken over"} {
		if got, err := a.ListContainers(within(t), &criapi.ListContainersRequest{}); err != nil || len(got.Containers) != 2 || got.Containers[0].State != criapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("%s: ListContainers() = %v, %v, want two that run", when, got.GetContainers(), err)
		}
		if got, err := a.images.ListImages(within(t), &criapi.ListImagesRequest{}); err != nil || len(got.Images) != 1 {
			t.Errorf("%s: ListImages() = %v, %v, want one", when, got.GetImages(), err)
		}
		if _, err := a.ContainerStats(within(t), &criapi.ContainerStatsRequest{ContainerId: running}); err != nil {
			t.Errorf("%s: ContainerStats() = %v", when, err)
		}
		if when == "broken" {
			a.stop()
			a.run()
		}
	}
	_, errs := a.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: running})
	for _, pod := range []string{first, second} {
		_, stop := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod})
		_, remove := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: pod})
		errs = errors.Join(errs, stop, remove)
	}
	_, err := a.images.RemoveImage(within(t), &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: id}})
	if errs = errors.Join(errs, err); errs != nil {
		t.Errorf("stop and remove: %v, want a broken policy to be in no way", errs)
	}
	if got := a.image(id); got != nil {
		t.Errorf("the image is still there: %v", got)
	}
}
