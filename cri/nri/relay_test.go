package nri

import (
	"context"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime"
)

func TestWhatHasHappenedIsToldThoughTheCallerHasGone(t *testing.T) {
	r, err := New(t.Context(), Config{PluginPath: t.TempDir(), PluginConfigPath: t.TempDir(), NoConnections: true})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s := &runtime.Subject{InstanceID: "i", ContainerID: "c"}
	if _, err := r.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r.turn <- struct{}{} // somebody else's
	if err := r.Tell(gone, runtime.StepStart, s); err == nil {
		t.Error("a start is told though the caller has gone")
	}
	time.AfterFunc(20*time.Millisecond, func() { <-r.turn })
	if err := r.Tell(gone, runtime.StepRemoved, s); err != nil || len(r.known) != 0 {
		t.Errorf("Tell() = %v, and %d are known; want none", err, len(r.known))
	}
}
