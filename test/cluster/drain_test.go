package cluster_test

import (
	"testing"
)

// few keeps a drain from ending all pods at once.
const few = `---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: moved}
spec: {minAvailable: 6, selector: {matchLabels: {app: moved}}}
`

func TestADrainedNodeIsEmptyUntilItIsUncordoned(t *testing.T) {
	site.apply(t, web+"---\n"+replace(deployment, "APP", "moved", "REPLICAS", "8")+few)
	site.readyPods(t, "web", 2)
	site.readyPods(t, "moved", 8)
	t.Cleanup(func() { site.kubectl(t, "uncordon", "node1") })
	site.kubectl(t, "drain", "node1", "--ignore-daemonsets", "--timeout", patience.String())
	for _, p := range site.readyPods(t, "moved", 8) {
		if p.Spec.NodeName != "node2" {
			t.Errorf("%s is on %s", p.Metadata.Name, p.Spec.NodeName)
		}
	}
	site.readyPods(t, "web", 2) // those of DaemonSets stay
	eventually(t, "the agent to have one pod", func() error { return site.nodes[0].has(1) })
	site.kubectl(t, "uncordon", "node1")
	site.kubectl(t, "scale", "deployment/moved", "--replicas=16")
	on := map[string]int{}
	for _, p := range site.readyPods(t, "moved", 16) {
		on[p.Spec.NodeName]++
	}
	if on["node1"] == 0 {
		t.Errorf("the pods are spread as %v", on)
	}
}
