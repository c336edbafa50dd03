package registrytest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Hook sees every request before anything else, tokens' too; true says that it has
// answered. Later hooks come after earlier ones.
func (s *Server) Hook(hook func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
}

// ClearHooks ends all faults.
func (s *Server) ClearHooks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = nil
}

// Requests are those so far of one kind, or of all if it is empty.
func (s *Server) Requests(kind string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Request
	for _, r := range s.requests {
		if kind == "" || r.Kind == kind {
			list = append(list, r)
		}
	}
	return list
}

// BlobGets counts the GET requests for a blob, or for all if digest is empty.
func (s *Server) BlobGets(digest string) int {
	n := 0
	for _, r := range s.Requests("blob") {
		if r.Method == http.MethodGet && (digest == "" || r.Path[max(0, len(r.Path)-len(digest)):] == digest) {
			n++
		}
	}
	return n
}

// Served counts a blob's bytes that went out without a fault in the way, all blobs' if digest is empty.
func (s *Server) Served(digest string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if digest != "" {
		return s.served[digest]
	}
	total := int64(0)
	for _, n := range s.served {
		total += n
	}
	return total
}

// Reset forgets the requests so far.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
	clear(s.served)
}

// onBlob answers GETs of one blob, or of all if digest is empty, for a number of times;
// negative is always.
func (s *Server) onBlob(digest string, times int, answer func(w http.ResponseWriter, r *http.Request)) {
	var done atomic.Int64
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if kind(r) != "blob" || r.Method != http.MethodGet || digest != "" && digestOf(r) != digest {
			return false
		}
		if times >= 0 && done.Add(1) > int64(times) {
			return false
		}
		answer(w, r)
		return true
	})
}

// CutBlob breaks the connection off when n bytes of a response have gone out.
func (s *Server) CutBlob(digest string, n int64, times int) {
	s.onBlob(digest, times, func(w http.ResponseWriter, r *http.Request) {
		s.blob(&limited{ResponseWriter: w, left: n, end: func() {}}, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// HangBlob sends n bytes of a response and then nothing until release is called or the
// client goes away. hanging receives a value for each response that hangs.
func (s *Server) HangBlob(tb testing.TB, digest string, n int64, times int) (hanging <-chan struct{}, release func()) {
	tb.Helper()
	const room = 1024
	at, done := make(chan struct{}, room), make(chan struct{})
	release = sync.OnceFunc(func() { close(done) })
	tb.Cleanup(release)
	s.onBlob(digest, times, func(w http.ResponseWriter, r *http.Request) {
		s.blob(&limited{ResponseWriter: w, left: n, end: func() {
			_ = http.NewResponseController(w).Flush()
			at <- struct{}{}
			select {
			case <-done:
			case <-r.Context().Done():
			}
		}}, r)
		panic(http.ErrAbortHandler)
	})
	return at, release
}

// limited lets a number of bytes through and then ends the response.
type limited struct {
	http.ResponseWriter

	left int64
	end  func()
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) < l.left {
		l.left -= int64(len(p))
		return l.ResponseWriter.Write(p)
	}
	n, err := l.ResponseWriter.Write(p[:l.left])
	l.left = 0
	if err == nil {
		l.end()
		err = io.ErrShortWrite
	}
	return n, err
}

// Busy answers 429 for a number of times, with Retry-After if that is not empty. kind is
// that of the requests, empty for all.
func (s *Server) Busy(of string, times int, retryAfter string) {
	s.Status(of, times, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down", retryAfter)
}

// Status answers with an error for a number of times; negative is always.
func (s *Server) Status(of string, times, status int, code, message, retryAfter string) {
	var done atomic.Int64
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if of != "" && kind(r) != of || times >= 0 && done.Add(1) > int64(times) {
			return false
		}
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		refuse(w, status, code, message)
		return true
	})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errors":[{"code":`+strconv.Quote(code)+`,"message":`+strconv.Quote(message)+`}]}`)
}

// WrongBytes flips a bit in the byte at an offset of a blob whenever it is sent.
func (s *Server) WrongBytes(digest string, offset int64) {
	s.onBlob(digest, -1, func(w http.ResponseWriter, r *http.Request) {
		content := append([]byte(nil), s.Content(r.Context(), digest)...)
		if offset < int64(len(content)) {
			content[offset] ^= 1
		}
		s.serveInstead(w, r, content)
	})
}

// Instead sends other content for a blob, of whatever length.
func (s *Server) Instead(digest string, content []byte) {
	s.onBlob(digest, -1, func(w http.ResponseWriter, r *http.Request) { s.serveInstead(w, r, content) })
}
