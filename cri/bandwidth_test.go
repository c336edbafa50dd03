package cri

import (
	"testing"

	"github.com/siflet/siflet/runtime"
)

func TestQuantityReadsTheNotationOfKubernetes(t *testing.T) {
	for text, want := range map[string]int64{
		"5": 5, "1k": 1000, "1Ki": 1024, "1.5M": 1_500_000, "10Mi": 10 << 20, "1e6": 1_000_000, "2E3": 2000, "1E": 1e18, "3P": 3e15,
	} {
		if got, ok := quantity(text); !ok || got != want {
			t.Errorf("quantity(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "k", "1K", "-5", "1.5", "0x10", "1/2", "1e999999999", "1e", "1 M", "1kk", "1kMi", "1_000", "9e19", "1ki", ".", "NaN", "Inf",
	} {
		if got, ok := quantity(text); ok {
			t.Errorf("quantity(%q) = %d, want none", text, got)
		}
	}
}

func TestBandwidthComesFromAnnotations(t *testing.T) {
	var spec runtime.InstanceSpec
	err := bandwidth(map[string]string{ingressAnnotation: "10M", egressAnnotation: "1Gi"}, &spec)
	if err != nil || spec.IngressBps != 10_000_000 || spec.EgressBps != 1<<30 {
		t.Errorf("bandwidth() = %v, %d and %d; want 10000000 and %d", err, spec.IngressBps, spec.EgressBps, 1<<30)
	}
	for _, text := range []string{"1", "2P", "fast"} {
		if err := bandwidth(map[string]string{egressAnnotation: text}, &spec); err == nil {
			t.Errorf("bandwidth(%q) succeeded", text)
		}
	}
}
