package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// calls count CRI's calls. Streams are among them: theirs is how long they were open.
type calls struct {
	ended *prometheus.CounterVec
	took  *prometheus.SummaryVec
}

func newCalls(to prometheus.Registerer) calls {
	c := calls{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "siflet_cri_calls_total", Help: "CRI calls that have ended, by method and gRPC code.",
		}, []string{"method", "code"}),
		took: prometheus.NewSummaryVec(prometheus.SummaryOpts{ // without quantiles: sum and count
			Name: "siflet_cri_call_duration_seconds", Help: "How long CRI calls took, by method.",
		}, []string{"method"}),
	}
	to.MustRegister(c.ended, c.took)
	return c
}

// CallEnds counts a call.
func (c calls) CallEnds(method, code string, took time.Duration) {
	c.ended.WithLabelValues(method, code).Inc()
	c.took.WithLabelValues(method).Observe(took.Seconds())
}
