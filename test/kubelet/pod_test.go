package kubelet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod is a static one.
type pod struct {
	t    *testing.T
	node *node
	name string // in its manifest
}

// podState is what a kubelet says of a pod.
type podState struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp *time.Time
	}
	Status struct {
		Phase, Reason, Message, PodIP, HostIP string
		Conditions                            []condition
		InitContainerStatuses                 []containerState
		ContainerStatuses                     []containerState
	}
}

type containerState struct {
	Name, ContainerID, Image, ImageID string
	Ready                             bool
	Started                           *bool
	RestartCount                      int
	State, LastState                  struct {
		Waiting    *struct{ Reason, Message string }
		Running    *struct{ StartedAt time.Time }
		Terminated *ended
	}
}

type ended struct {
	ExitCode, Signal      int
	Reason, Message       string
	StartedAt, FinishedAt time.Time
}

// run gives the kubelet a pod; spec is what its manifest has there, in YAML, with
// IMAGE for the name of an image with busybox. The test's end is the pod's.
func (n *node) run(t *testing.T, name, spec string) *pod {
	t.Helper()
	p := &pod{t: t, node: n, name: name}
	p.change(spec)
	t.Cleanup(p.remove)
	return p
}

// change gives the kubelet another manifest.
func (p *pod) change(spec string) {
	p.t.Helper()
	spec = strings.ReplaceAll(strings.ReplaceAll(spec, "IMAGE", p.node.image), "\n", "\n  ")
	text := "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + p.name + "\n  labels: {app: " + p.name + "}\nspec:\n  " + spec
	made := filepath.Join(p.node.dir, p.name+".yaml")
	if err := errors.Join(os.WriteFile(made, []byte(text), 0o644), os.Rename(made, p.manifest())); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pod) manifest() string { return filepath.Join(p.node.dir, "manifests", p.name+".yaml") }

// remove takes the manifest away, and waits until the kubelet and the agent have
// ended the pod.
func (p *pod) remove() {
	p.t.Helper()
	if err := os.Remove(p.manifest()); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	eventually(p.t, p.name+" to be gone", func() error {
		s, err := p.state()
		if err == nil && s != nil {
			err = fmt.Errorf("the kubelet knows it: %+v", s.Status)
		}
		if err != nil {
			return err
		}
		pods, err := p.node.cri().ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{Filter: &criapi.PodSandboxFilter{
			State:         &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_READY},
			LabelSelector: map[string]string{"io.kubernetes.pod.name": p.name + "-node"},
		}})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("the agent runs it: %v", pods.Items)
		}
		return err
	})
}

// state is what the kubelet says of the pod, nil if it does not know it.
func (p *pod) state() (*podState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, err := p.node.get(ctx, "/pods/")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []*podState }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list.Items, func(s *podState) bool { return s.Metadata.Name == p.name+"-node" })
	if i < 0 {
		return nil, nil //nolint:nilnil // it is not there
	}
	return list.Items[i], nil
}

// until waits for the pod to be as wanted.
func (p *pod) until(what string, ok func(s *podState) bool) *podState {
	p.t.Helper()
	var found *podState
	eventually(p.t, p.name+" "+what, func() error {
		s, err := p.state()
		switch {
		case err != nil:
			return err
		case s == nil:
			return errors.New("the kubelet knows no such pod")
		case !ok(s):
			text, err := json.Marshal(s.Status)
			return errors.Join(errors.New(string(text)), err)
		}
		found = s
		return nil
	})
	return found
}

// ready waits until all containers of the pod are.
func (p *pod) ready() *podState {
	p.t.Helper()
	return p.until("to be ready", func(s *podState) bool { return s.ready() })
}

// phase waits until it is that.
func (p *pod) phase(want string) *podState {
	p.t.Helper()
	return p.until("to be "+want, func(s *podState) bool { return s.Status.Phase == want })
}

// ready says if all containers are.
func (s *podState) ready() bool {
	return slices.Contains(s.Status.Conditions, condition{"Ready", "True"})
}

type condition struct{ Type, Status string }

// container is the state of one by name, empty if there is none yet.
func (s *podState) container(name string) containerState {
	for _, c := range slices.Concat(s.Status.InitContainerStatuses, s.Status.ContainerStatuses) {
		if c.Name == name {
			return c
		}
	}
	return containerState{}
}

// logs is what a container has written, as the kubelet tells it.
func (p *pod) logs(container, query string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.node.get(ctx, "/containerLogs/default/"+p.name+"-node/"+container+"?"+query)
}

// said waits until a container has written that.
func (p *pod) said(container, want string) string {
	p.t.Helper()
	var text string
	eventually(p.t, container+" of "+p.name+" to say "+want, func() (err error) {
		if text, err = p.logs(container, ""); err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("it said %q", text)
		}
		return err
	})
	return text
}

// path of one of the kubelet's streams.
func (p *pod) path(what, container string, q url.Values) string {
	if container != "" {
		container = "/" + container
	}
	return "/" + what + "/default/" + p.name + "-node" + container + "?" + q.Encode()
}

// within is a context for one call, which also cleaning up may make.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

// replace replaces each first word by the second.
func replace(text string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(text)
}
