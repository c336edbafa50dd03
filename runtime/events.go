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
// IDs are the instance's. Many readers share one: it is not to be changed.
type Event struct {
	Kind        EventKind
	ContainerID string
	InstanceID  string
	At          time.Time
	// Instance and Containers are how the instance and those in it were when it
	// happened. A container that was deleted is not among them any more; an instance
	// that was is as it was last.
	Instance   Instance
	Containers []Container
}

// eventBacklog is how far a reader may fall behind.
const eventBacklog = 4096

// Subscription is one reader's events, in their order.
type Subscription struct {
	// Events are what happens, until the subscription is over.
	Events <-chan *Event
	// Over is closed at the end: of the context, of the engine, or because the
	// reader fell so far behind that it would miss some. What it has not read by
	// then it does not get.
	Over <-chan struct{}

	events chan *Event
	over   chan struct{}
	slow   bool
}

// Slow tells, once the subscription is over, that the reader was too slow: it lists
// anew and subscribes again.
func (r *Subscription) Slow() bool { return r.slow }

// events passes changes to readers in their order.
type events struct {
	mu      sync.Mutex
	closed  bool
	readers map[*Subscription]struct{}
}

// emit never waits, however slow the readers are.
func (s *events) emit(e *Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		select {
		case r.events <- e:
		default:
			r.slow = true
			s.endLocked(r)
		}
	}
}

// endLocked lets go of what the reader, which may hang, has not read.
func (s *events) endLocked(r *Subscription) {
	if _, ok := s.readers[r]; !ok {
		return
	}
	delete(s.readers, r)
	close(r.over)
	if r.slow {
		for len(r.events) > 0 {
			select {
			case <-r.events:
			default:
			}
		}
	}
	close(r.events)
}

func (s *events) end(r *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(r)
}

func (s *events) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for r := range s.readers {
		s.endLocked(r)
	}
}

func (s *events) heard() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers) > 0
}

// Subscribe returns the changes from now on. There are none of before: who wants to
// know how things are lists them after it has subscribed. So nothing is told of what
// ended while no engine ran: the lists say so.
func (e *Engine) Subscribe(ctx context.Context) *Subscription {
	r := &Subscription{events: make(chan *Event, eventBacklog), over: make(chan struct{})}
	r.Events, r.Over = r.events, r.over
	s := &e.events
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == nil {
		s.readers = map[*Subscription]struct{}{}
	}
	s.readers[r] = struct{}{}
	if s.closed {
		s.endLocked(r)
		return r
	}
	e.background(func() {
		select {
		case <-ctx.Done():
		case <-r.over:
		case <-e.life.done:
		}
		s.end(r)
	})
	return r
}

// tellLocked tells how things are at this moment. The instance's mutex, which the
// caller holds, is what keeps the events of one instance in order.
func (e *Engine) tellLocked(kind EventKind, i *instance, id string) {
	if !e.events.heard() {
		return
	}
	event := &Event{Kind: kind, InstanceID: i.id, ContainerID: id, At: time.Now(), Instance: i.snapshotLocked()}
	for _, c := range i.listLocked() {
		if c.claim == nil || c.claim.what != claimCreate {
			event.Containers = append(event.Containers, c.snapshotLocked())
		}
	}
	e.events.emit(event)
}

func (e *Engine) tell(kind EventKind, i *instance, id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	e.tellLocked(kind, i, id)
}
