package registry

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall" //nolint:depguard // the name of an error; no system call
)

// handshake tells how a request's connection began.
type handshake struct {
	mu  sync.Mutex
	err error
}

// of is the request, listened to.
func (h *handshake) of(r *http.Request) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.err = err
		},
	}))
}

// withoutTLS says that the server had something else to say to TLS, or nothing. Such a
// server does not speak it, or is not what it should be: who takes it for the one must be
// sure that it is not the other.
func (h *handshake) withoutTLS() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, other := errors.AsType[tls.RecordHeaderError](h.err)
	return other || errors.Is(h.err, io.EOF) || errors.Is(h.err, io.ErrUnexpectedEOF) || errors.Is(h.err, syscall.ECONNRESET)
}
