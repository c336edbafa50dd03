package trace

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// sent is what a collector got.
type sent struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes []pair }
		ScopeSpans []struct {
			Spans []struct {
				TraceID      string `json:"traceId"`
				SpanID       string `json:"spanId"`
				ParentSpanID string `json:"parentSpanId"`
				Name         string
				Kind         int
				Start        string `json:"startTimeUnixNano"`
				End          string `json:"endTimeUnixNano"`
				Attributes   []pair
				Status       struct {
					Code    int
					Message string
				}
			}
		}
	}
}

type pair struct {
	Key   string
	Value struct{ StringValue string }
}

// collect sends what do makes, and returns what arrived.
func collect(t *testing.T, do func(*Exporter)) sent {
	t.Helper()
	bodies := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", r.URL.Path, r.Header)
		}
		bodies <- text
	}))
	defer server.Close()
	e := Start(server.URL+"/", [][2]string{{"service.name", "siflet"}}, slog.New(slog.DiscardHandler))
	do(e)
	e.Stop()
	var got sent
	select {
	case text := <-bodies:
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatal("nothing was sent")
	}
	return got
}

func TestPartsBelongToTheirCall(t *testing.T) {
	pod := strings.Repeat("0a1b2c3d", 8)
	got := collect(t, func(e *Exporter) {
		ctx, call := e.Begin(t.Context(), "RunPodSandbox", "")
		Part(ctx, Span{Name: "network", Begin: time.Unix(1, 2), End: time.Unix(3, 4), Error: "no"})
		call.End(pod, [][2]string{{"k8s.pod.name", "web"}}, errors.New("failed"))
		Part(ctx, Span{Name: "too late"})
		Part(t.Context(), Span{Name: "of no call"})
	})
	if a := got.ResourceSpans[0].Resource.Attributes; len(a) != 1 || a[0].Value.StringValue != "siflet" {
		t.Errorf("resource %+v", a)
	}
	spans := got.ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2: %+v", len(spans), spans)
	}
	call, part := spans[0], spans[1]
	if call.TraceID != pod[:32] || part.TraceID != call.TraceID || part.ParentSpanID != call.SpanID || call.ParentSpanID != "" {
		t.Errorf("they are not of one trace, that of the pod: %+v", spans)
	}
	if call.Kind != kindServer || part.Kind != kindInternal || call.Status.Message != "failed" || call.Status.Code != statusError || part.Status.Message != "no" {
		t.Errorf("kinds or errors are wrong: %+v", spans)
	}
	if part.Start != "1000000002" || part.End != "3000000004" || call.Attributes[0].Key != "k8s.pod.name" {
		t.Errorf("times or attributes are wrong: %+v", spans)
	}
}

func TestTheCallersTraceCounts(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	got := collect(t, func(e *Exporter) {
		_, call := e.Begin(t.Context(), "kept", "00-"+trace+"-"+parent+"-01")
		call.End("", nil, nil)
		_, other := e.Begin(t.Context(), "not to be traced", "00-"+trace+"-"+parent+"-00")
		other.End("", nil, nil)
	})
	spans := got.ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 1 || spans[0].TraceID != trace || spans[0].ParentSpanID != parent {
		t.Errorf("spans %+v, want one of the caller's trace", spans)
	}
}

func TestWrongTraceparentsAreNone(t *testing.T) {
	for _, text := range []string{
		"", "00", "00-0-0-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
	} {
		if trace, _, _, ok := parse(text); ok {
			t.Errorf("parse(%q) = %s", text, trace)
		}
	}
}

func TestACollectorThatIsAwayHoldsNobodyUp(t *testing.T) {
	var log strings.Builder
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	e := Start(server.URL, nil, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 * backlog {
		e.Add(Span{Name: "x"})
	}
	e.Stop()
	if !strings.Contains(log.String(), "spans were lost") {
		t.Errorf("the log does not say that spans were lost: %s", log.String())
	}
}
