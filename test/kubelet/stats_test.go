package kubelet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// summary is what /stats/summary tells of pods.
type summary struct {
	Node struct {
		FS, Memory map[string]any
		Runtime    struct{ ImageFs, ContainerFs map[string]any }
	}
	Pods []struct {
		PodRef           struct{ Name string }
		CPU, Memory      map[string]any
		Network          map[string]any
		EphemeralStorage map[string]any `json:"ephemeral-storage"`
		Volume           []struct {
			Name      string
			UsedBytes int
		}
		Containers []struct {
			Name                      string
			CPU, Memory, Rootfs, Logs map[string]any
		}
	}
}

const busy = `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sh, -c, "dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null; dd if=/dev/zero of=/disk/big bs=1M count=2 2>/dev/null; echo said; while :; do i=$((i+1)); [ $((i%10000)) = 0 ] && sleep 0.1; done"], volumeMounts: [{name: disk, mountPath: /disk}]}
volumes:
- {name: disk, emptyDir: {}}
`

// measured checks what a summary says of the pod and, if asked for, of its network,
// which cAdvisor finds for no runtime that it does not know by name.
func (p *pod) measured(network bool) error {
	text, err := p.node.get(within(p.t), "/stats/summary")
	if err != nil {
		return err
	}
	var s summary
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	for i := range s.Pods {
		pod := &s.Pods[i]
		if pod.PodRef.Name != p.name+"-node" {
			continue
		}
		if len(pod.Containers) != 1 || len(pod.Volume) != 1 {
			return fmt.Errorf("pod %+v, want one container and one volume", pod)
		}
		c := pod.Containers[0]
		for name, v := range map[string]any{
			"cpu": pod.CPU["usageCoreNanoSeconds"], "rate of cpu": pod.CPU["usageNanoCores"], "memory": pod.Memory["workingSetBytes"],
			"storage":         pod.EphemeralStorage["usedBytes"],
			"container's cpu": c.CPU["usageCoreNanoSeconds"], "container's rate": c.CPU["usageNanoCores"],
			"container's memory": c.Memory["workingSetBytes"], "container's log": c.Logs["usedBytes"],
			"size of images": s.Node.Runtime.ImageFs["capacityBytes"], "used by images": s.Node.Runtime.ImageFs["usedBytes"],
		} {
			if n, ok := v.(float64); !ok || n <= 0 {
				return fmt.Errorf("%s is %v, want it counted; pod %+v", name, v, pod)
			}
		}
		if n, ok := pod.Network["rxBytes"].(float64); network && (!ok || n <= 0) {
			return fmt.Errorf("network %v, want it counted", pod.Network)
		}
		if n, ok := c.Rootfs["usedBytes"].(float64); !ok || n < 3<<20 || pod.Volume[0].UsedBytes < 2<<20 {
			return fmt.Errorf("root %v and volume %v, want 3 and 2 MiB used", c.Rootfs, pod.Volume)
		}
		return nil
	}
	return errors.New("no such pod in the summary")
}

func TestTheSummaryMeasuresPods(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "busy", busy)
	eventually(t, "the pod's measures", func() error { return p.measured(false) })
}

func TestTheSummaryAndMetricsComeFromTheAgent(t *testing.T) {
	n := start(t, settings{kubelet: "featureGates: {PodAndContainerStatsFromCRI: true, EventedPLEG: true, CRIListStreaming: true}\n"})
	p := n.run(t, "busy", busy)
	eventually(t, "the pod's measures", func() error { return p.measured(true) })
	eventually(t, "the pod's metrics", func() error {
		text, err := n.get(within(t), "/metrics/cadvisor")
		for _, name := range []string{"container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_network_receive_bytes_total"} {
			if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
				return strings.HasPrefix(line, name+"{") && strings.Contains(line, `pod="busy-node"`)
			}) {
				err = errors.Join(err, fmt.Errorf("%s has no value of the pod", name))
			}
		}
		return err
	})
}

func TestEventsAndStreamedListsAreUsed(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "events", `
restartPolicy: Never
containers:
- {name: c, image: IMAGE, command: ["true"]}
`)
	id := strings.TrimPrefix(p.phase("Succeeded").container("c").ContainerID, "siflet://")
	text, err := os.ReadFile(quiet.dir + "/logs/kubelet")
	must(t, err)
	if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.Contains(line, "requested pod relist after container termination") && strings.Contains(line, id)
	}) {
		t.Error("the container's end came by no event")
	}
	metrics, err := quiet.get(within(t), "/metrics")
	must(t, err)
	for _, want := range []string{"kubelet_evented_pleg_connection_success_count 1\n", "kubelet_evented_pleg_connection_error_count 0\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the kubelet's metrics lack %q", want)
		}
	}
	calls, err := os.ReadFile(quiet.dir + "/logs/agent")
	must(t, err)
	for method, want := range map[string]bool{
		"StreamContainers": true, "StreamPodSandboxes": true, "StreamImages": true, "ListContainers": false, "ListImages": false,
	} {
		if got := strings.Contains(string(calls), "method="+method+" "); got != want {
			t.Errorf("the kubelet has called %s: %v, want %v", method, got, want)
		}
	}
}
