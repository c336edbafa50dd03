package runtime

import "testing"

func TestSlowReaderIsLetGoAndHoldsNobodyUp(t *testing.T) {
	var e events
	reader := func() *Subscription {
		r := &Subscription{events: make(chan *Event, eventBacklog), over: make(chan struct{})}
		r.Events, r.Over = r.events, r.over
		return r
	}
	slow, fast := reader(), reader()
	e.readers = map[*Subscription]struct{}{slow: {}, fast: {}}
	for n := range eventBacklog + 10 {
		told := &Event{}
		e.emit(told)
		if got := <-fast.Events; got != told {
			t.Fatalf("the fast reader got %v as event %d, want what was told", got, n)
		}
	}
	<-slow.Over
	if _, ok := <-slow.Events; ok || !slow.Slow() {
		t.Errorf("Slow() = %t, an event is left: %t; want it slow and nothing kept for it", slow.Slow(), ok)
	}
	e.close()
	<-fast.Over
	if fast.Slow() {
		t.Error("the fast reader is said to be slow")
	}
}
