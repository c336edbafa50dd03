package cluster_test

import (
	"fmt"
	"syscall"
	"testing"
)

// TestPodsLiveThroughTheEndOfAnAgent kills one while pods begin, run and end.
func TestPodsLiveThroughTheEndOfAnAgent(t *testing.T) {
	n := site.nodes[0]
	site.apply(t, replace(deployment, "APP", "steady", "REPLICAS", "6"))
	before := map[string]container{}
	var there object
	for _, p := range site.readyPods(t, "steady", 6) {
		before[p.Metadata.Name] = p.Status.ContainerStatuses[0]
		if p.Spec.NodeName == n.name {
			there = p
		}
	}
	if there.Status.PodIP == "" {
		t.Fatalf("none of 6 pods is on %s", n.name)
	}
	site.apply(t, replace(deployment, "APP", "scaled", "REPLICAS", "0")+"---\n"+replace(job, "TRIED", t.TempDir(), "PARALLEL", "10"))
	done := func(want int) func() error {
		return func() error {
			o, err := site.object("/apis/batch/v1/namespaces/default/jobs/work")
			if err == nil && o.Status.Succeeded < want {
				err = fmt.Errorf("%d are done", o.Status.Succeeded)
			}
			return err
		}
	}
	eventually(t, "10 runs", done(10))
	site.kubectl(t, "scale", "deployment/scaled", "--replicas=20")
	eventually(t, "20 runs", done(20))
	must(t, n.agent.stop(syscall.SIGKILL))
	t.Cleanup(func() { // an outage is when a kubelet stops to listen for events
		must(t, n.kubelet.stop(syscall.SIGTERM))
		must(t, n.startKubelet(site.ca))
		eventually(t, "the nodes to be ready", site.ready)
	})
	if text, err := fetch("node2", there.Status.PodIP+":8080/"); err != nil || text != "v1" {
		t.Errorf("a pod without an agent says %q, %v", text, err)
	}
	eventually(t, "40 runs, on the other node", done(40))
	must(t, n.startAgent())
	site.readyPods(t, "scaled", 20)
	site.completed(t)
	for _, p := range site.readyPods(t, "steady", 6) {
		was, is := before[p.Metadata.Name], p.Status.ContainerStatuses[0]
		if was.ContainerID != is.ContainerID || is.RestartCount != 0 {
			t.Errorf("%s is %+v, was %+v", p.Metadata.Name, is, was)
		}
	}
	site.kubectl(t, "scale", "deployment/scaled", "--replicas=0")
	site.readyPods(t, "scaled", 0)
}
