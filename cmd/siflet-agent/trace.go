package main

import (
	"context"
	"log/slog"
	"os"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/cmd/internal/trace"
	"github.com/siflet/siflet/runtime"
)

// tracer traces the calls that pods are started with.
type tracer struct {
	exporter *trace.Exporter
	engine   *runtime.Engine
}

// observer is who the engine tells: metrics and, if there is one, the tracer.
type observer struct {
	*metrics

	traced bool
}

// PhaseEnds counts a phase, and makes it a part of the call that is traced.
func (o observer) PhaseEnds(ctx context.Context, p runtime.Phase) {
	o.metrics.PhaseEnds(ctx, p)
	if !o.traced {
		return
	}
	s := trace.Span{Name: p.Of + " " + p.Name, Begin: p.Begin, End: p.End, Attributes: [][2]string{{"siflet.id", p.ID}}}
	if p.Err != nil {
		s.Error = p.Err.Error()
	}
	trace.Part(ctx, s)
}

// startTracer sends to the collector at endpoint; without one it returns nil.
func startTracer(endpoint string, log *slog.Logger) *tracer {
	if endpoint == "" {
		return nil
	}
	host, _ := os.Hostname()
	return &tracer{exporter: trace.Start(endpoint, [][2]string{
		{"service.name", "siflet-agent"}, {"service.version", version}, {"host.name", host},
	}, log)}
}

// stop is for a tracer that is nil, too.
func (t *tracer) stop() {
	if t != nil {
		t.exporter.Stop()
	}
}

// around is what traces calls of an engine; nil for a tracer that is nil.
func (t *tracer) around(engine *runtime.Engine) grpc.UnaryServerInterceptor {
	if t == nil {
		return nil
	}
	t.engine = engine
	return t.call
}

// call traces those calls that start pods.
func (t *tracer) call(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	switch method {
	case "RunPodSandbox", "CreateContainer", "StartContainer", "PullImage":
	default:
		return next(ctx, request)
	}
	parent := ""
	if said := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(said) > 0 {
		parent = said[0]
	}
	ctx, call := t.exporter.Begin(ctx, method, parent)
	answer, err := next(ctx, request)
	pod, attributes := t.about(request, answer)
	call.End(pod, attributes, err)
	return answer, err
}

// about is which pod a call was for, and what else is known of it.
func (t *tracer) about(request, answer any) (pod string, attributes [][2]string) {
	var config *criapi.PodSandboxConfig
	add := func(name, value string) {
		if value != "" {
			attributes = append(attributes, [2]string{name, value})
		}
	}
	switch r := request.(type) {
	case *criapi.RunPodSandboxRequest:
		config = r.GetConfig()
		if a, ok := answer.(*criapi.RunPodSandboxResponse); ok {
			pod = a.GetPodSandboxId()
		}
	case *criapi.CreateContainerRequest:
		config, pod = r.GetSandboxConfig(), r.GetPodSandboxId()
		add("k8s.container.name", r.GetConfig().GetMetadata().GetName())
		add("container.image.name", r.GetConfig().GetImage().GetImage())
		if a, ok := answer.(*criapi.CreateContainerResponse); ok {
			add("container.id", a.GetContainerId())
		}
	case *criapi.StartContainerRequest:
		made, _ := t.engine.Container(r.GetContainerId()) // one that is not there has no pod
		pod = made.InstanceID
		add("container.id", r.GetContainerId())
	case *criapi.PullImageRequest:
		config = r.GetSandboxConfig()
		add("container.image.name", r.GetImage().GetImage())
	}
	add("k8s.pod.name", config.GetMetadata().GetName())
	add("k8s.namespace.name", config.GetMetadata().GetNamespace())
	add("k8s.pod.uid", config.GetMetadata().GetUid())
	add("siflet.pod.id", pod)
	return pod, attributes
}
