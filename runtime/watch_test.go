package runtime

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/supervisor"
)

func TestEndThatIsHeardOfFirstIsToldAfterTheStart(t *testing.T) {
	e := &Engine{view: view{cfg: Config{Log: slog.New(slog.DiscardHandler)}}}
	told := &Subscription{events: make(chan *Event, 4), over: make(chan struct{})}
	e.events.readers = map[*Subscription]struct{}{told: {}}
	i := &instance{id: "i", alive: true}
	c := &container{id: "c", inst: i, done: make(chan struct{})}
	i.containers = map[string]*container{"c": c}
	at := time.Now().Add(-time.Second)

	e.happened(i, supervisor.Event{Container: "c", Exit: &supervisor.Exit{Code: 3, At: at}})
	e.happened(i, supervisor.Event{Container: "c", PID: 7})

	e.events.close()
	var kinds []EventKind
	var states []ContainerState
	for event := range told.events {
		kinds = append(kinds, event.Kind)
		states = append(states, event.Containers[0].State)
	}
	if len(kinds) != 2 || kinds[0] != EventStarted || kinds[1] != EventStopped {
		t.Errorf("told %v, want %v and %v", kinds, EventStarted, EventStopped)
	}
	if !slices.Equal(states, []ContainerState{ContainerRunning, ContainerExited}) {
		t.Errorf("the events tell of a container %v, want it as it was then", states)
	}
	if !c.rec.StartedAt.Equal(at) {
		t.Errorf("started at %v, want no later than its end at %v", c.rec.StartedAt, at)
	}
}
