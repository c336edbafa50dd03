package cri_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// tracedSpan is what a collector gets of a span.
type tracedSpan struct{ TraceID, SpanID, ParentSpanID, Name string }

// collector collects spans.
type collector struct {
	*httptest.Server

	mu    sync.Mutex
	spans []tracedSpan
	more  chan struct{}
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{more: make(chan struct{}, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var got struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []tracedSpan }
			}
		}
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		if err != nil {
			t.Errorf("%v: %s", err, text)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range got.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		c.more <- struct{}{}
	}))
	t.Cleanup(c.Close)
	return c
}

// named waits for a span, and for those of some names below it.
func (c *collector) named(t *testing.T, name string, below ...string) tracedSpan {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		c.mu.Lock()
		var found tracedSpan
		for _, s := range c.spans {
			if s.Name == name {
				found = s
			}
		}
		left := slices.DeleteFunc(slices.Clone(below), func(want string) bool {
			return slices.ContainsFunc(c.spans, func(s tracedSpan) bool {
				return s.Name == want && s.ParentSpanID == found.SpanID && s.TraceID == found.TraceID
			})
		})
		all := slices.Clone(c.spans)
		c.mu.Unlock()
		if found.SpanID != "" && len(left) == 0 {
			return found
		}
		select {
		case <-c.more:
		case <-late.C:
			t.Fatalf("no span %s came with %v below it: %+v", name, left, all)
		}
	}
}

func TestAStartIsOneTraceWithASpanForEachPhase(t *testing.T) {
	c := newCollector(t)
	a := start(t, "--trace-endpoint", c.URL)
	p := podConfig(a, "p")
	pod := a.pod(p)
	a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for call, phases := range map[string][]string{
		"RunPodSandbox":   {"pod cgroup", "pod supervisor", "pod network"},
		"CreateContainer": {"create image", "create trust", "create plan"},
		"StartContainer":  {"start check", "start cgroup", "start launch"},
	} {
		if span := c.named(t, call, phases...); span.TraceID != pod[:32] || span.ParentSpanID != "" {
			t.Errorf("%s is of trace %s, parent %q, want %s and none", call, span.TraceID, span.ParentSpanID, pod[:32])
		}
	}
}

func TestACallersTraceGoesOn(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	c := newCollector(t)
	a := start(t, "--trace-endpoint", c.URL)
	ctx := metadata.AppendToOutgoingContext(within(t), "traceparent", "00-"+trace+"-"+parent+"-01")
	if _, err := a.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: podConfig(a, "p")}); err != nil {
		t.Fatal(err)
	}
	if span := c.named(t, "RunPodSandbox"); span.TraceID != trace || span.ParentSpanID != parent {
		t.Errorf("span %+v, want it in the caller's trace", span)
	}
}
