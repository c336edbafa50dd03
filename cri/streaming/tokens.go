package streaming

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	execKind, attachKind, forwardKind = "exec", "attach", "portforward"

	tokenLife = time.Minute
	maxTokens = 1000
)

// Wants are the streams that a client asks for.
type Wants struct{ Stdin, Stdout, Stderr, TTY bool }

// asked is what a token stands for.
type asked struct {
	kind  string
	id    string // container or pod
	cmd   []string
	wants Wants
	ports []int32 // that a WebSocket client names beforehand
	until time.Time
}

// tokens are requests that nobody has come for yet. The zero value is empty.
type tokens struct {
	mu   sync.Mutex
	open map[string]asked
}

func (t *tokens) add(a asked, now time.Time) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]asked{}
	}
	for token, old := range t.open {
		if !now.Before(old.until) {
			delete(t.open, token)
		}
	}
	if len(t.open) >= maxTokens {
		return "", ErrBusy
	}
	token := rand.Text()
	a.until = now.Add(tokenLife)
	t.open[token] = a
	return token, nil
}

// take is the request for a token, which is used up by this.
func (t *tokens) take(token, kind string, now time.Time) (asked, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.open[token]
	delete(t.open, token)
	return a, ok && a.kind == kind && now.Before(a.until)
}

// ExecURL is where to come for a command's streams.
func (s *Server) ExecURL(id string, cmd []string, w Wants) (string, error) {
	return s.url(asked{kind: execKind, id: id, cmd: cmd, wants: w})
}

// AttachURL is where to come for a container's streams.
func (s *Server) AttachURL(id string, w Wants) (string, error) {
	return s.url(asked{kind: attachKind, id: id, wants: w})
}

// PortForwardURL is where to come for connections to ports of a pod. SPDY
// clients name them as they go.
func (s *Server) PortForwardURL(id string, ports []int32) (string, error) {
	return s.url(asked{kind: forwardKind, id: id, ports: ports})
}

func (s *Server) url(a asked) (string, error) {
	token, err := s.tokens.add(a, time.Now())
	if err != nil {
		return "", err
	}
	return s.base.JoinPath(a.kind, token).String(), nil
}
