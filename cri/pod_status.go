package cri

import (
	"encoding/json"
	"fmt"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

func podStatus(i *runtime.Instance) *criapi.PodSandboxStatus {
	network := &criapi.PodSandboxNetworkStatus{}
	for n, address := range i.Addresses {
		if n == 0 {
			network.Ip = address.String()
			continue
		}
		network.AdditionalIps = append(network.AdditionalIps, &criapi.PodIP{Ip: address.String()})
	}
	return &criapi.PodSandboxStatus{
		Id: i.ID, Metadata: criPodMetadata(i.Spec.Metadata), State: podState(i.State),
		CreatedAt: i.CreatedAt.UnixNano(), Network: network,
		Linux:  &criapi.LinuxPodSandboxStatus{Namespaces: &criapi.Namespace{Options: namespaceOptions(i.Spec.Namespaces)}},
		Labels: i.Spec.Metadata.Labels, Annotations: i.Spec.Metadata.Annotations, RuntimeHandler: i.Spec.Handler,
	}
}

// podInfo is what inspectp shows beside the status.
func podInfo(i *runtime.Instance) (map[string]string, error) {
	return info(struct {
		PID           int                   `json:"pid"`
		SupervisorPID int                   `json:"supervisorPid,omitempty"`
		Name          string                `json:"instance"`
		Netns         string                `json:"netns,omitempty"`
		CgroupPath    string                `json:"cgroupPath,omitempty"`
		Labels        runtime.Labels        `json:"selinuxLabels,omitzero"`
		Reason        string                `json:"reason,omitempty"`
		Spec          *runtime.InstanceSpec `json:"spec"`
		Network       any                   `json:"network,omitempty"`
	}{
		PID: firstPID(i.InitPID, i.SupervisorPID), SupervisorPID: i.SupervisorPID, Name: i.Spec.Name, Netns: i.Netns,
		CgroupPath: i.Cgroup, Labels: i.Labels, Reason: i.Reason, Spec: &i.Spec, Network: i.Network,
	})
}

func firstPID(pids ...int) int {
	for _, pid := range pids {
		if pid != 0 {
			return pid
		}
	}
	return 0
}

func info(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("verbose info: %w", err)
	}
	return map[string]string{"info": string(text)}, nil
}
