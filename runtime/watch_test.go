package runtime

import (
	"log/slog"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/supervisor"
)

func TestEndThatIsHeardOfFirstIsToldAfterTheStart(t *testing.T) {
	e := &Engine{view: view{cfg: Config{Log: slog.New(slog.DiscardHandler)}}}
	told := make(chan Event, 4)
	e.events.readers = map[chan Event]struct{}{told: {}}
	i := &instance{id: "i", alive: true}
	c := &container{id: "c", inst: i, done: make(chan struct{})}
	i.containers = map[string]*container{"c": c}
	at := time.Now().Add(-time.Second)

	e.happened(i, supervisor.Event{Container: "c", Exit: &supervisor.Exit{Code: 3, At: at}})
	e.happened(i, supervisor.Event{Container: "c", PID: 7})

	close(told)
	var kinds []EventKind
	for event := range told {
		kinds = append(kinds, event.Kind)
	}
	if len(kinds) != 2 || kinds[0] != EventStarted || kinds[1] != EventStopped {
		t.Errorf("told %v, want %v and %v", kinds, EventStarted, EventStopped)
	}
	if !c.rec.StartedAt.Equal(at) {
		t.Errorf("started at %v, want no later than its end at %v", c.rec.StartedAt, at)
	}
}
