package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// calls count CRI's calls. Streams are among them: theirs is how long they were open.
type calls struct {
	ended *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

// callBuckets are for lists, of a millisecond, to pulls of many minutes, in seconds.
func callBuckets() []float64 {
	return []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120, 600}
}

func newCalls(to prometheus.Registerer) calls {
	c := calls{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "siflet_cri_calls_total", Help: "CRI calls that have ended, by method and gRPC code.",
		}, []string{"method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "siflet_cri_call_duration_seconds", Help: "How long CRI calls took, by method and gRPC code.", Buckets: callBuckets(),
		}, []string{"method", "code"}),
	}
	to.MustRegister(c.ended, c.took)
	return c
}

// CallEnds counts a call.
func (c calls) CallEnds(method, code string, took time.Duration) {
	c.ended.WithLabelValues(method, code).Inc()
	c.took.WithLabelValues(method, code).Observe(took.Seconds())
}
