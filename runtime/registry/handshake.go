package registry

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// handshake tells how a request's connection began.
type handshake struct {
	mu    sync.Mutex
	hosts int // that a connection was wanted to: redirects lead to others
	err   error
}

// of is the request, listened to.
func (h *handshake) of(r *http.Request) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.hosts++
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.err = err
		},
	}))
}

// withoutTLS says that the server itself had something else to say to TLS. One that hangs
// up may speak it all the same, and be busy.
func (h *handshake) withoutTLS() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, other := errors.AsType[tls.RecordHeaderError](h.err)
	return other && h.hosts == 1
}
