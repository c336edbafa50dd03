package registry

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// sending is the body of a request: n bytes of data from an offset on.
type sending struct {
	data io.ReaderAt
	at   int64
	left int64
	// sent, if not nil, hears how far it is.
	sent func(at int64)

	mu    sync.Mutex
	timer *time.Timer // counts while nobody takes anything
	limit time.Duration
}

// of makes it the body of a request.
func (s *sending) of(r *http.Request) {
	if r.ContentLength = s.left; s.left > 0 {
		r.Body = s
	}
}

// watch has a timer begin anew whenever something was taken; nil has none. When all is
// sent the server may have to look through it, which takes longer.
func (s *sending) watch(timer *time.Timer, limit time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer, s.limit = timer, limit
}

// settling is how many times longer the server may take when all is sent.
const settling = 10

func (s *sending) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.data.ReadAt(b[:min(int64(len(b)), s.left)], s.at)
	s.at, s.left = s.at+int64(n), s.left-int64(n)
	if n > 0 {
		err = nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // it is shorter than it was
	}
	if s.sent != nil {
		s.sent(s.at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		limit := s.limit
		if s.left == 0 {
			limit *= settling
		}
		s.timer.Reset(limit)
	}
	return n, err
}

// Close leaves the data open: it may have to be sent again.
func (s *sending) Close() error { return nil }
