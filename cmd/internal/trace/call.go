package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// Call is a call that is traced, with the parts that it has so far.
type Call struct {
	exporter *Exporter
	span     Span
	sampled  bool

	mu    sync.Mutex
	parts []Span
	ended bool
}

type key struct{}

// Begin begins a call. A caller who traces says so in traceparent, as W3C Trace Context has
// it: then the call is part of that trace, or of none.
func (e *Exporter) Begin(ctx context.Context, name, traceparent string) (context.Context, *Call) {
	c := &Call{exporter: e, sampled: true, span: Span{ID: random(), Name: name, Call: true, Begin: time.Now()}}
	if trace, parent, sampled, ok := parse(traceparent); ok {
		c.span.TraceID, c.span.Parent, c.sampled = trace, parent, sampled
	}
	return context.WithValue(ctx, key{}, c), c
}

// Part adds a part to the call that ctx is of, if there is any and it has not ended.
func Part(ctx context.Context, s Span) {
	c, ok := ctx.Value(key{}).(*Call)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		s.ID = random()
		c.parts = append(c.parts, s)
	}
}

// End ends the call. Without a trace of the caller's it is part of one that the ID of its
// pod, of 64 hexadecimal digits, begins with.
func (c *Call) End(pod string, attributes [][2]string, err error) {
	c.mu.Lock()
	c.ended = true
	parts := c.parts
	c.mu.Unlock()
	const digits = 32
	switch {
	case !c.sampled:
		return
	case c.span.TraceID == "" && len(pod) >= digits:
		c.span.TraceID = pod[:digits]
	case c.span.TraceID == "":
		c.span.TraceID = random() + random()
	}
	c.span.End, c.span.Attributes = time.Now(), attributes
	if err != nil {
		c.span.Error = err.Error()
	}
	c.exporter.Add(c.span)
	for _, p := range parts {
		p.TraceID, p.Parent = c.span.TraceID, c.span.ID
		c.exporter.Add(p)
	}
}

// random is the ID of a span.
func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// parse reads "00-TRACE-PARENT-FLAGS".
func parse(traceparent string) (trace, parent string, sampled, ok bool) {
	fields := strings.Split(traceparent, "-")
	const least, trace32, parent16, flags2 = 4, 32, 16, 2
	if len(fields) < least || !digits(fields[0], flags2) || fields[0] == "ff" || !digits(fields[1], trace32) || !digits(fields[2], parent16) || !digits(fields[3], flags2) {
		return "", "", false, false
	}
	if strings.Trim(fields[1], "0") == "" || strings.Trim(fields[2], "0") == "" {
		return "", "", false, false
	}
	flags, _ := hex.DecodeString(fields[3]) // as checked
	return fields[1], fields[2], flags[0]&1 == 1, true
}

// digits says that a text is so many hexadecimal digits, in small letters.
func digits(text string, n int) bool {
	return len(text) == n && strings.Trim(text, "0123456789abcdef") == ""
}
