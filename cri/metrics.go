package cri

import (
	"context"
	"slices"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// metric is one of the metrics that cAdvisor has, by its name there, with what it is
// of a measured thing. Values are whole numbers: CRI has no others, so times are in
// whole seconds.
type metric struct {
	name, help string
	labels     []string // beyond those that all have
	counter    bool
	values     func(m *measured, tell func(value uint64, labels ...string))
}

// measured is what metrics are made of: a pod, or a container.
type measured struct {
	now       time.Time
	labels    []string // values of commonLabels
	pod       *runtime.InstanceStats
	container *runtime.ContainerStats // nil for the pod itself
}

// commonLabels are cAdvisor's, in its order: of a pod itself container, image and
// name are empty, as they are there. The id is the path of the cgroup.
func commonLabels() []string { return []string{"container", "id", "image", "name", "namespace", "pod"} }

func allMetrics() [][]metric {
	return [][]metric{
		cpuMetrics(), memoryMetrics(), pressureMetrics(), ioMetrics(), diskMetrics(),
		networkMetrics(), processMetrics(), specMetrics(),
	}
}

// ListMetricDescriptors describes all that ListPodSandboxMetrics may tell.
func (s *Server) ListMetricDescriptors(context.Context, *criapi.ListMetricDescriptorsRequest) (*criapi.ListMetricDescriptorsResponse, error) {
	out := &criapi.ListMetricDescriptorsResponse{}
	for _, group := range allMetrics() {
		for _, m := range group {
			out.Descriptors = append(out.Descriptors, &criapi.MetricDescriptor{
				Name: m.name, Help: m.help, LabelKeys: append(commonLabels(), m.labels...),
			})
		}
	}
	return out, nil
}

// ListPodSandboxMetrics measures the ready pods and the running containers.
func (s *Server) ListPodSandboxMetrics(context.Context, *criapi.ListPodSandboxMetricsRequest) (*criapi.ListPodSandboxMetricsResponse, error) {
	return &criapi.ListPodSandboxMetricsResponse{PodMetrics: s.podMetrics()}, nil
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics in parts.
func (s *Server) StreamPodSandboxMetrics(_ *criapi.StreamPodSandboxMetricsRequest, stream criapi.RuntimeService_StreamPodSandboxMetricsServer) error {
	return inParts(s.podMetrics(), func(part []*criapi.PodSandboxMetrics) error {
		return stream.Send(&criapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: part})
	})
}

func (s *Server) podMetrics() []*criapi.PodSandboxMetrics {
	metrics := allMetrics()
	pods := s.engine.AllStats(nil, true)
	out := make([]*criapi.PodSandboxMetrics, len(pods))
	for i := range pods {
		pod := &pods[i]
		meta := pod.Instance.Spec.Metadata
		m := measured{
			now: pod.Time, pod: pod,
			labels: []string{"", pod.Instance.Cgroup, "", "", meta.Namespace, meta.Name},
		}
		out[i] = &criapi.PodSandboxMetrics{PodSandboxId: pod.Instance.ID, Metrics: m.all(metrics)}
		for n := range pod.Containers {
			c := &pod.Containers[n]
			m := measured{
				now: c.Time, pod: pod, container: c,
				labels: []string{
					c.Container.Spec.Metadata.Name, c.Container.Cgroup, imageSpec(&c.Container).Image, c.Container.ID,
					meta.Namespace, meta.Name,
				},
			}
			out[i].ContainerMetrics = append(out[i].ContainerMetrics, &criapi.ContainerMetrics{
				ContainerId: c.Container.ID, Metrics: m.all(metrics),
			})
		}
	}
	return out
}

// all are the metrics as they are now, which a timestamp of zero says.
func (m *measured) all(groups [][]metric) []*criapi.Metric {
	var out []*criapi.Metric
	for _, group := range groups {
		for i := range group {
			one := &group[i]
			kind := criapi.MetricType_GAUGE
			if one.counter {
				kind = criapi.MetricType_COUNTER
			}
			one.values(m, func(value uint64, labels ...string) {
				all := m.labels
				if len(labels) > 0 {
					all = append(slices.Clip(m.labels), labels...)
				}
				out = append(out, &criapi.Metric{Name: one.name, MetricType: kind, LabelValues: all, Value: number(value)})
			})
		}
	}
	return out
}
