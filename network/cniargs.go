package network

import (
	"slices"

	"github.com/containernetworking/cni/libcni"
)

// runtimeConf is a request in CNI's words. libcni passes a capability on only to
// plugins that ask for it.
func runtimeConf(req Request) *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{
		ContainerID: req.ID,
		NetNS:       req.Netns,
		IfName:      inner,
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", req.Namespace},
			{"K8S_POD_NAME", req.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", req.ID},
			{"K8S_POD_UID", req.UID},
		},
		CapabilityArgs: map[string]any{},
	}
	for key, value := range req.Args {
		rt.Args = append(rt.Args, [2]string{key, value})
	}
	slices.SortFunc(rt.Args[5:], func(a, b [2]string) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	if ports := cniPorts(req.Ports); len(ports) > 0 {
		rt.CapabilityArgs["portMappings"] = ports
	}
	if req.IngressBps > 0 || req.EgressBps > 0 {
		rt.CapabilityArgs["bandwidth"] = cniBandwidth(req)
	}
	if d := req.DNS; len(d.Servers)+len(d.Searches)+len(d.Options) > 0 {
		rt.CapabilityArgs["dns"] = map[string][]string{
			"servers": d.Servers, "searches": d.Searches, "options": d.Options,
		}
	}
	if len(req.Annotations) > 0 {
		rt.CapabilityArgs["io.kubernetes.cri.pod-annotations"] = req.Annotations
	}
	if req.CgroupParent != "" {
		rt.CapabilityArgs["cgroupPath"] = req.CgroupParent
	}
	return rt
}

func cniPorts(ports []Port) []map[string]any {
	var all []map[string]any
	for _, p := range ports {
		if p.Host == 0 {
			continue
		}
		one := map[string]any{"hostPort": p.Host, "containerPort": p.Container, "protocol": "tcp"}
		if p.Protocol != "" {
			one["protocol"] = p.Protocol
		}
		if p.HostIP.IsValid() {
			one["hostIP"] = p.HostIP.String()
		}
		all = append(all, one)
	}
	return all
}

func cniBandwidth(req Request) map[string]int64 {
	const burst = 1<<31 - 1 // what a rate without one has by custom
	limits := map[string]int64{}
	if req.IngressBps > 0 {
		limits["ingressRate"], limits["ingressBurst"] = req.IngressBps, burst
	}
	if req.EgressBps > 0 {
		limits["egressRate"], limits["egressBurst"] = req.EgressBps, burst
	}
	return limits
}
