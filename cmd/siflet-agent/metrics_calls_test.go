package main

import (
	"testing"
	"time"
)

func TestCallsAreCounted(t *testing.T) {
	m := newMetrics()
	m.CallEnds("StopContainer", "OK", 2*time.Second)
	m.CallEnds("StopContainer", "NotFound", time.Second)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	codes, seconds := 0, 0.0
	for _, f := range families {
		switch f.GetName() {
		case "siflet_cri_calls_total":
			codes = len(f.GetMetric())
		case "siflet_cri_call_duration_seconds":
			for _, one := range f.GetMetric() {
				seconds += one.GetHistogram().GetSampleSum()
			}
		}
	}
	if codes != 2 || seconds != 3 {
		t.Errorf("%d codes and %v seconds are told, want 2 and 3", codes, seconds)
	}
}
