package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	goruntime "runtime"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version names the runtime. The kubelet expects "0.1.0" as the version of its
// own protocol.
func (s *Server) Version(context.Context, *criapi.VersionRequest) (*criapi.VersionResponse, error) {
	return &criapi.VersionResponse{
		Version: "0.1.0", RuntimeName: "siflet", RuntimeVersion: s.version, RuntimeApiVersion: "v1",
	}, nil
}

// Status says whether pods can run here, and with which features.
func (s *Server) Status(ctx context.Context, r *criapi.StatusRequest) (*criapi.StatusResponse, error) {
	mapped := s.engine.UserNamespaces() == nil
	out := &criapi.StatusResponse{
		Status: &criapi.RuntimeStatus{Conditions: []*criapi.RuntimeCondition{
			condition("RuntimeReady", "RuntimeNotReady", s.engine.Ready()),
			condition("NetworkReady", "NetworkNotReady", s.engine.NetworkReady(ctx)),
		}},
		Features: &criapi.RuntimeFeatures{SupplementalGroupsPolicy: true, UserNamespacesHostNetwork: mapped, MountOptions: true},
	}
	out.RuntimeHandlers = s.handlerFeatures(mapped)
	if err := s.missingRuntimes(); err != nil {
		out.Status.Conditions = append(out.Status.Conditions, condition("HandlersReady", "RuntimeMissing", err))
	}
	out.Status.Conditions = append(out.Status.Conditions, s.weather()...)
	if !r.GetVerbose() {
		return out, nil
	}
	config, err := json.Marshal(s.described())
	if err != nil {
		return nil, fmt.Errorf("verbose info: %w", err)
	}
	pulls, err := json.Marshal(s.pulls.list())
	if err != nil {
		return nil, fmt.Errorf("verbose info: %w", err)
	}
	out.Info = map[string]string{
		"config": string(config), "pulls": string(pulls), "golang": `"` + goruntime.Version() + `"`, "version": `"` + s.version + `"`,
	}
	return out, nil
}

func condition(kind, reason string, err error) *criapi.RuntimeCondition {
	if err != nil {
		return &criapi.RuntimeCondition{Type: kind, Reason: reason, Message: printable(err.Error())}
	}
	return &criapi.RuntimeCondition{Type: kind, Status: true}
}

// RuntimeConfig tells the kubelet which cgroup driver to use.
func (s *Server) RuntimeConfig(context.Context, *criapi.RuntimeConfigRequest) (*criapi.RuntimeConfigResponse, error) {
	driver := criapi.CgroupDriver_CGROUPFS
	if s.node.Limits.Systemd {
		driver = criapi.CgroupDriver_SYSTEMD
	}
	return &criapi.RuntimeConfigResponse{Linux: &criapi.LinuxRuntimeConfiguration{CgroupDriver: driver}}, nil
}

// UpdateRuntimeConfig hears of the node's range of pod addresses. As with other
// runtimes it is for whoever writes the CNI configuration to act on it; the
// built-in bridge has the ranges that the agent was started with.
func (s *Server) UpdateRuntimeConfig(ctx context.Context, r *criapi.UpdateRuntimeConfigRequest) (*criapi.UpdateRuntimeConfigResponse, error) {
	text := r.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if text == "" {
		return &criapi.UpdateRuntimeConfigResponse{}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		if _, err := netip.ParsePrefix(strings.TrimSpace(part)); err != nil {
			return nil, invalid("runtime_config.network_config.pod_cidr", "%q is not a range of addresses", part)
		}
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "pod range noted; CNI configuration or --subnet decide", slog.String("pod_cidr", text))
	return &criapi.UpdateRuntimeConfigResponse{}, nil
}
