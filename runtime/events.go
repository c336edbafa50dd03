package runtime

import (
	"context"
	"sync"
	"time"
)

// EventKind says what happened.
type EventKind string

// Kinds of event.
const (
	EventCreated EventKind = "created"
	EventStarted EventKind = "started"
	EventStopped EventKind = "stopped"
	EventDeleted EventKind = "deleted"
)

// Event is a change in the life of a container, or of an instance: then both
// IDs are the instance's.
type Event struct {
	Kind        EventKind
	ContainerID string
	InstanceID  string
	At          time.Time
}

// eventBacklog is how far a reader may fall behind.
const eventBacklog = 4096

// events passes changes to readers in their order.
type events struct {
	mu      sync.Mutex
	closed  bool
	readers map[chan Event]struct{}
}

// emit never waits. It may be called with an instance's mutex held, which is
// what keeps the events of one container in order.
func (s *events) emit(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		select {
		case r <- e:
		default:
			delete(s.readers, r)
			close(r)
		}
	}
}

func (s *events) drop(r chan Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.readers[r]; ok {
		delete(s.readers, r)
		close(r)
	}
}

func (s *events) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for r := range s.readers {
		delete(s.readers, r)
		close(r)
	}
}

// Subscribe returns the changes from now on. The channel is closed when ctx
// ends, when the engine does, or when the reader falls so far behind that it
// would miss some: it then lists anew and subscribes again.
func (e *Engine) Subscribe(ctx context.Context) <-chan Event {
	r := make(chan Event, eventBacklog)
	s := &e.events
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(r)
		return r
	}
	if s.readers == nil {
		s.readers = map[chan Event]struct{}{}
	}
	s.readers[r] = struct{}{}
	e.background(func() {
		select {
		case <-ctx.Done():
		case <-e.life.done:
		}
		s.drop(r)
	})
	return r
}

func (e *Engine) tell(kind EventKind, instance, container string) {
	e.events.emit(Event{Kind: kind, InstanceID: instance, ContainerID: container, At: time.Now()})
}
