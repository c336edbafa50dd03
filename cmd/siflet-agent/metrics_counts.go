package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/siflet/siflet/runtime"
)

// counted tells how many pods and containers there are, at each scrape.
type counted func() runtime.Counts

func (counted) pods() *prometheus.Desc {
	return prometheus.NewDesc("siflet_pods", "Pods, by state: ready or notready.", []string{"state"}, nil)
}

func (counted) containers() *prometheus.Desc {
	return prometheus.NewDesc("siflet_containers", "Containers, by state: created, running, exited or unknown.", []string{"state"}, nil)
}

func (counted) supervisors() *prometheus.Desc {
	return prometheus.NewDesc("siflet_supervisors", "Supervisors that run: one for each pod.", nil, nil)
}

// Describe lists the metrics.
func (c counted) Describe(to chan<- *prometheus.Desc) {
	to <- c.supervisors()
	to <- c.pods()
	to <- c.containers()
}

// Collect counts.
func (c counted) Collect(to chan<- prometheus.Metric) {
	n := c()
	to <- prometheus.MustNewConstMetric(c.supervisors(), prometheus.GaugeValue, float64(n.Supervisors))
	for state, count := range n.Pods {
		to <- prometheus.MustNewConstMetric(c.pods(), prometheus.GaugeValue, float64(count), string(state))
	}
	for state, count := range n.Containers {
		to <- prometheus.MustNewConstMetric(c.containers(), prometheus.GaugeValue, float64(count), string(state))
	}
}
