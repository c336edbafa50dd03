package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// deployment is web servers of an image.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: APP}
spec:
  replicas: REPLICAS
  progressDeadlineSeconds: 3600
  selector: {matchLabels: {app: APP}}
  strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 2}}
  template:
    metadata: {labels: {app: APP}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: APP}}}
      containers:
      - name: web
        image: IMAGES/v1.sif
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 2}
`

func TestADeploymentScalesTo40AndBack(t *testing.T) {
	site.apply(t, replace(deployment, "APP", "scaled", "REPLICAS", "0"))
	for range 2 {
		site.kubectl(t, "scale", "deployment/scaled", "--replicas=40")
		pods := site.readyPods(t, "scaled", 40)
		on, addresses := map[string]int{}, map[string]bool{}
		for i := range pods {
			on[pods[i].Spec.NodeName]++
			addresses[pods[i].Status.PodIP] = true
		}
		if len(addresses) != 40 || on["node1"] < 10 || on["node2"] < 10 {
			t.Errorf("40 pods have %d addresses and are spread as %v", len(addresses), on)
		}
		site.kubectl(t, "scale", "deployment/scaled", "--replicas=0")
		site.readyPods(t, "scaled", 0)
		for _, n := range site.nodes {
			eventually(t, n.name+" to have no pods", func() error { return n.has(0) })
		}
	}
}

func TestADeploymentRollsOutAndBack(t *testing.T) {
	site.apply(t, replace(deployment, "APP", "rolled", "REPLICAS", "6"))
	site.rolledOut(t, "v1")
	site.kubectl(t, "set", "image", "deployment/rolled", "web=local.file"+images+"/v2.sif")
	site.rolledOut(t, "v2")
	// An image that is not there stops the rollout, and leaves most of the old pods.
	site.kubectl(t, "set", "image", "deployment/rolled", "web=local.file"+images+"/v3.sif")
	eventually(t, "the new image to be found missing", func() error {
		pods, err := site.pods("rolled")
		if err == nil && !slices.ContainsFunc(pods, func(p object) bool { return p.waits("web", "ErrImagePull", "ImagePullBackOff") }) {
			err = fmt.Errorf("of %d pods none lacks it", len(pods))
		}
		return err
	})
	o, err := site.object("/apis/apps/v1/namespaces/default/deployments/rolled")
	if err != nil || o.Status.ReadyReplicas < 4 {
		t.Errorf("%d pods are ready, %v; want at least 4 of the old ones", o.Status.ReadyReplicas, err)
	}
	site.kubectl(t, "rollout", "undo", "deployment/rolled")
	site.rolledOut(t, "v2")
	site.kubectl(t, "rollout", "undo", "deployment/rolled", "--to-revision=1")
	site.rolledOut(t, "v1")
}

// rolledOut waits until all six pods are of that version, and asks each.
func (c *cluster) rolledOut(t *testing.T, version string) {
	t.Helper()
	eventually(t, "all pods to be of "+version, func() error {
		o, err := c.object("/apis/apps/v1/namespaces/default/deployments/rolled")
		if s := o.Status; err == nil && (s.ObservedGeneration != o.Metadata.Generation || s.UpdatedReplicas != 6 || s.Replicas != 6 || s.ReadyReplicas != 6) {
			err = fmt.Errorf("of %d pods %d are of the last version and %d ready", s.Replicas, s.UpdatedReplicas, s.ReadyReplicas)
		}
		return err
	})
	for _, p := range c.readyPods(t, "rolled", 6) {
		text, err := fetch("node1", p.Status.PodIP+":8080/")
		if err != nil || text != version || !strings.HasSuffix(p.Status.ContainerStatuses[0].Image, "/"+version+".sif") {
			t.Errorf("%s of %+v says %q, %v; want %s", p.Metadata.Name, p.Status.ContainerStatuses, text, err, version)
		}
	}
}

func TestADaemonSetRunsOnEveryNode(t *testing.T) {
	site.apply(t, web)
	eventually(t, "one pod on every node", func() error {
		o, err := site.object("/apis/apps/v1/namespaces/default/daemonsets/web")
		if s := o.Status; err == nil && (s.DesiredNumberScheduled != 2 || s.NumberAvailable != 2) {
			err = fmt.Errorf("%d of %d pods are available", s.NumberAvailable, s.DesiredNumberScheduled)
		}
		return err
	})
	lost := site.readyPods(t, "web", 2)[0]
	site.kubectl(t, "delete", "pod", lost.Metadata.Name)
	for _, p := range site.readyPods(t, "web", 2) {
		if p.Metadata.UID == lost.Metadata.UID {
			t.Errorf("%s is there after it was deleted", p.Metadata.Name)
		}
	}
}
