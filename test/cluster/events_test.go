package cluster_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestEventsAndStreamedListsAreUsed compares the node whose kubelet has the
// feature gates with the other.
func TestEventsAndStreamedListsAreUsed(t *testing.T) {
	for _, n := range site.nodes {
		on := n.number == 1
		site.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: short-%[1]s, labels: {app: short-%[1]s}}
spec:
  nodeName: %[1]s
  restartPolicy: Never
  containers: [{name: c, image: IMAGES/v1.sif, command: ["true"]}]
`, n.name))
		id := ""
		eventually(t, "the pod to succeed", func() error {
			pods, err := site.pods("short-" + n.name)
			if err == nil && (len(pods) != 1 || pods[0].Status.Phase != "Succeeded") {
				err = fmt.Errorf("pods: %+v", pods)
			}
			if err == nil {
				id = strings.TrimPrefix(pods[0].Status.ContainerStatuses[0].ContainerID, "siflet://")
			}
			return err
		})
		text, err := os.ReadFile(logOf(n.name + "-kubelet"))
		must(t, err)
		if got := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			return strings.Contains(line, "requested pod relist after container termination") && strings.Contains(line, id)
		}); got != on {
			t.Errorf("%s: the container's end came by an event: %v, want %v", n.name, got, on)
		}
		var metrics string
		must(t, site.get("/api/v1/nodes/"+n.name+"/proxy/metrics", &metrics))
		for want, on := range map[string]bool{
			"kubelet_evented_pleg_connection_success_count 1\n": on, "kubelet_evented_pleg_connection_error_count 0\n": true,
		} {
			if got := strings.Contains(metrics, want); got != on {
				t.Errorf("%s: the kubelet's metrics have %q: %v, want %v", n.name, want, got, on)
			}
		}
		calls, err := os.ReadFile(logOf(n.name + "-agent"))
		must(t, err)
		for method, want := range map[string]bool{
			"StreamContainers": on, "StreamPodSandboxes": on, "StreamImages": on, "ListContainers": !on, "ListImages": !on,
		} {
			if got := strings.Contains(string(calls), "method="+method+" "); got != want {
				t.Errorf("%s: the kubelet has called %s: %v, want %v", n.name, method, got, want)
			}
		}
	}
}
