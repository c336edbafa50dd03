package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/test/kubetest"
)

// object is what these tests look at of any object.
type object struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp *time.Time
		Labels            map[string]string
		Generation        int
	}
	Spec struct {
		NodeName      string
		Unschedulable bool
		ClusterIP     string
		Ports         []struct{ NodePort int }
	}
	Status struct {
		Phase, PodIP                                         string
		Conditions                                           []condition
		ContainerStatuses                                    []container
		ObservedGeneration                                   int
		Replicas, ReadyReplicas, UpdatedReplicas             int // of a Deployment
		Succeeded, Failed, Active                            int // of a Job
		DesiredNumberScheduled, NumberReady, NumberAvailable int // of a DaemonSet
		RuntimeHandlers                                      []struct{ Name string }
	}
}

type condition struct{ Type, Status string }

type container struct {
	Name, ContainerID, Image, ImageID string
	Ready                             bool
	RestartCount                      int
	State                             struct {
		Waiting    *struct{ Reason, Message string }
		Terminated *struct {
			Reason   string
			ExitCode int
		}
	}
}

func (o *object) has(kind, status string) bool {
	return slices.Contains(o.Status.Conditions, condition{kind, status})
}

// ready is a pod that is, and stays.
func (o *object) ready() bool { return o.has("Ready", "True") && o.Metadata.DeletionTimestamp == nil }

// waits says if a container of the pod does, for one of these reasons.
func (o *object) waits(name string, reasons ...string) bool {
	return slices.ContainsFunc(o.Status.ContainerStatuses, func(c container) bool {
		return c.Name == name && c.State.Waiting != nil && slices.Contains(reasons, c.State.Waiting.Reason)
	})
}

// get asks the API server.
func (c *cluster) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s: %s", path, response.Status, strings.TrimSpace(string(text)))
	}
	switch into := into.(type) {
	case nil:
		return nil
	case *string:
		*into = string(text)
		return nil
	default:
		return json.Unmarshal(text, into)
	}
}

func (c *cluster) object(path string) (o object, err error) {
	err = c.get(path, &o)
	return o, err
}

// pods are those with the label app.
func (c *cluster) pods(app string) ([]object, error) {
	var list struct{ Items []object }
	err := c.get("/api/v1/namespaces/default/pods?labelSelector="+url.QueryEscape("app="+app), &list)
	return list.Items, err
}

// readyPods waits until there are so many pods of the app, all ready.
func (c *cluster) readyPods(t *testing.T, app string, want int) (pods []object) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d pods of %s to be ready", want, app), func() (err error) {
		pods, err = c.pods(app)
		ready := 0
		for i := range pods {
			if pods[i].ready() {
				ready++
			}
		}
		if err == nil && (len(pods) != want || ready != want) {
			err = fmt.Errorf("there are %d, %d of which are ready", len(pods), ready)
		}
		return err
	})
	return pods
}

// kubectl runs a command that must succeed and returns what it writes.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	text, err := c.try("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// try runs kubectl with that input.
func (c *cluster) try(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program("kubectl"), append([]string{"--kubeconfig", c.ca.file("admin.conf"), "--cache-dir", dir + "/kubectl"}, args...)...)
	var failure bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &failure
	text, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, failure.Bytes())
	}
	return string(text), err
}

// apply makes or changes objects. The test's end is theirs, and their pods'.
func (c *cluster) apply(t *testing.T, manifest string) {
	t.Helper()
	manifest = replace(manifest, "IMAGES", "local.file"+images)
	t.Cleanup(func() {
		if _, err := c.try(manifest, "delete", "--ignore-not-found", "--cascade=foreground", "--wait", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.try(manifest, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// workloadsGone tells of pods that are still there.
func (c *cluster) workloadsGone() error {
	var list struct{ Items []object }
	err := c.get("/api/v1/namespaces/default/pods", &list)
	if err == nil && len(list.Items) > 0 {
		err = fmt.Errorf("%d pods are there, such as %s on %q", len(list.Items), list.Items[0].Metadata.Name, list.Items[0].Spec.NodeName)
	}
	return err
}

// shell runs a command in the pod's first container.
func (c *cluster) shell(pod, command string) (string, error) {
	text, err := c.try("", "exec", pod, "--", "sh", "-c", command)
	return strings.TrimSpace(text), err
}

// eventually waits until there is no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	if err := wait(check); err != nil {
		t.Fatalf("waited %s for %s: %v", patience, what, err)
	}
}

func wait(check func() error) error { return kubetest.Wait(patience, check) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replace replaces each first word by the second.
func replace(text string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(text)
}
