// Package trace sends spans to a collector of OpenTelemetry, as OTLP over HTTP in JSON.
//
// Who makes spans never waits: those that can't be sent in time are dropped, and counted.
package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	backlog  = 2048
	batch    = 256
	period   = 2 * time.Second
	sendTime = 5 * time.Second
)

// Span is something that took time.
type Span struct {
	// TraceID has 32 hexadecimal digits, ID and Parent have 16; a Parent may be empty.
	TraceID, ID, Parent string
	Name                string
	// Call says that it is a call answered, not a part of one.
	Call       bool
	Begin, End time.Time
	// Attributes are pairs of a name and a text.
	Attributes [][2]string
	// Error is empty if it went well.
	Error string
}

// Exporter sends spans.
type Exporter struct {
	url      string
	resource [][2]string
	log      *slog.Logger
	client   http.Client

	spans chan Span
	stop  chan struct{}
	done  sync.WaitGroup

	mu      sync.Mutex
	dropped int
}

// Start begins to send to the collector at endpoint, such as http://127.0.0.1:4318. The
// resource says who sends. Stop it.
func Start(endpoint string, resource [][2]string, log *slog.Logger) *Exporter {
	e := &Exporter{
		url: strings.TrimSuffix(endpoint, "/") + "/v1/traces", resource: resource, log: log,
		client: http.Client{Timeout: sendTime}, spans: make(chan Span, backlog), stop: make(chan struct{}),
	}
	e.done.Go(e.run)
	return e
}

// Add takes a span to be sent, or drops it if too many wait.
func (e *Exporter) Add(s Span) {
	select {
	case e.spans <- s:
	default:
		e.drop(1)
	}
}

func (e *Exporter) drop(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped += n
}

// Stop sends what waits, if the collector takes it, and ends.
func (e *Exporter) Stop() {
	close(e.stop)
	e.done.Wait()
}

func (e *Exporter) run() {
	tick := time.NewTicker(period)
	defer tick.Stop()
	var list []Span
	for last := false; !last; {
		select {
		case s := <-e.spans:
			if list = append(list, s); len(list) < batch {
				continue
			}
		case <-tick.C:
		case <-e.stop:
			last = true
			for len(e.spans) > 0 {
				list = append(list, <-e.spans)
			}
		}
		e.send(list)
		list = nil
	}
}

// send sends spans once. A collector that is away loses them: they are about what was.
func (e *Exporter) send(list []Span) {
	if len(list) == 0 {
		return
	}
	err := e.post(list)
	e.mu.Lock()
	lost := e.dropped
	e.dropped = 0
	e.mu.Unlock()
	if err != nil {
		lost += len(list)
	}
	if lost > 0 {
		e.log.Warn("spans were lost", "spans", lost, "collector", e.url, "error", err)
	}
}

func (e *Exporter) post(list []Span) error {
	text, err := json.Marshal(e.document(list))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := e.client.Do(r)
	if err != nil {
		return err
	}
	const most = 1 << 10
	said, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 { //nolint:mnd // success
		return fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(said))
	}
	return nil
}

// What OTLP calls a call that is answered, a part of one, and one that failed.
const (
	kindInternal, kindServer = 1, 2
	statusError              = 2
)

type object = map[string]any

func (e *Exporter) document(list []Span) object {
	spans := make([]object, 0, len(list))
	for _, s := range list {
		kind := kindInternal
		if s.Call {
			kind = kindServer
		}
		one := object{
			"traceId": s.TraceID, "spanId": s.ID, "name": s.Name, "kind": kind, "attributes": attributes(s.Attributes),
			"startTimeUnixNano": strconv.FormatInt(s.Begin.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.End.UnixNano(), 10),
		}
		if s.Parent != "" {
			one["parentSpanId"] = s.Parent
		}
		if s.Error != "" {
			one["status"] = object{"code": statusError, "message": s.Error}
		}
		spans = append(spans, one)
	}
	return object{"resourceSpans": []object{{
		"resource":   object{"attributes": attributes(e.resource)},
		"scopeSpans": []object{{"scope": object{"name": "github.com/siflet/siflet"}, "spans": spans}},
	}}}
}

func attributes(pairs [][2]string) []object {
	list := make([]object, 0, len(pairs))
	for _, p := range pairs {
		list = append(list, object{"key": p[0], "value": object{"stringValue": p[1]}})
	}
	return list
}
