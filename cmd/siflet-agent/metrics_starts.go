package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/siflet/siflet/runtime"
)

// starts count what the engine tells of starts and of ends.
type starts struct {
	phases   *prometheus.HistogramVec
	restarts prometheus.Counter
	ends     *prometheus.CounterVec
}

// phaseBuckets are for a cgroup, of a tenth of a millisecond, to a CNI plugin that hangs, in seconds.
func phaseBuckets() []float64 {
	return []float64{0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 90}
}

func newStarts(to prometheus.Registerer) starts {
	s := starts{
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "siflet_start_phase_seconds", Help: "How long parts of making a pod, and of making and starting a container, took.", Buckets: phaseBuckets(),
		}, []string{"of", "phase"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "siflet_container_restarts_total", Help: "Containers started that took the place of an earlier one.",
		}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "siflet_container_ends_total", Help: "Containers that have ended, by how: completed, error, oom_killed, not_started or lost.",
		}, []string{"how"}),
	}
	for _, how := range []string{"completed", "error", "oom_killed", "not_started", "lost"} {
		s.ends.WithLabelValues(how)
	}
	to.MustRegister(s.phases, s.restarts, s.ends)
	return s
}

// PhaseEnds counts a phase, and a restart if it was the last of one.
func (s starts) PhaseEnds(_ context.Context, p runtime.Phase) {
	s.phases.WithLabelValues(p.Of, p.Name).Observe(p.End.Sub(p.Begin).Seconds())
	if p.Of == runtime.PhaseOfStart && p.Name == "launch" && p.Err == nil && p.Attempt > 0 {
		s.restarts.Inc()
	}
}

// ContainerEnds counts an end.
func (s starts) ContainerEnds(how string) { s.ends.WithLabelValues(how).Inc() }
