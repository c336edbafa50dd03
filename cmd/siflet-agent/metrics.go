package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	goruntime "runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the agent tells Prometheus.
type metrics struct {
	calls
	starts

	registry *prometheus.Registry
	bytes    prometheus.Counter
	pulls    *prometheus.CounterVec
	running  prometheus.Gauge
	duration prometheus.Histogram

	stop func() // ends what serve began; nil if nothing is served
}

// pullBuckets are for pulls from a file at hand to tens of gigabytes, in seconds.
func pullBuckets() []float64 {
	return []float64{0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800}
}

// newMetrics makes the metrics of what happens. Those of how things are come to the registry
// with what knows that.
func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "siflet_image_pull_bytes_total", Help: "Bytes that pulls have read, as they come.",
		}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "siflet_image_pulls_total", Help: "Pulls that have ended, by result: success, failure or canceled.",
		}, []string{"result"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "siflet_image_pulls_in_progress", Help: "Pulls under way.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "siflet_image_pull_duration_seconds", Help: "How long pulls took that succeeded.", Buckets: pullBuckets(),
		}),
	}
	for _, result := range []string{"success", "failure", "canceled"} {
		m.pulls.WithLabelValues(result)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "siflet_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goruntime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(
		m.bytes, m.pulls, m.running, m.duration, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.calls, m.starts = newCalls(m.registry), newStarts(m.registry)
	return m
}

// storeSize measures the image store at each scrape.
type storeSize func() (bytes, inodes uint64, mountpoint string, err error)

func (storeSize) size() *prometheus.Desc {
	return prometheus.NewDesc("siflet_image_store_bytes", "Bytes that the image store's files take.", nil, nil)
}

func (storeSize) files() *prometheus.Desc {
	return prometheus.NewDesc("siflet_image_store_files", "Files and directories of the image store.", nil, nil)
}

// Describe lists the metrics.
func (s storeSize) Describe(to chan<- *prometheus.Desc) {
	to <- s.size()
	to <- s.files()
}

// Collect measures.
func (s storeSize) Collect(to chan<- prometheus.Metric) {
	bytes, files, _, err := s()
	if err != nil {
		to <- prometheus.NewInvalidMetric(s.size(), err)
		return
	}
	to <- prometheus.MustNewConstMetric(s.size(), prometheus.GaugeValue, float64(bytes))
	to <- prometheus.MustNewConstMetric(s.files(), prometheus.GaugeValue, float64(files))
}

// PullBegins counts a pull under way.
func (m *metrics) PullBegins() { m.running.Inc() }

// PullReads counts bytes.
func (m *metrics) PullReads(bytes int64) { m.bytes.Add(float64(bytes)) }

// PullEnds counts a pull that has ended.
func (m *metrics) PullEnds(result string, took time.Duration) {
	m.running.Dec()
	m.pulls.WithLabelValues(result).Inc()
	if result == "success" {
		m.duration.Observe(took.Seconds())
	}
}

// serve serves /metrics on address, and no more where it did before; an empty
// address serves nothing. After an error nothing has changed. close ends it.
func (m *metrics) serve(ctx context.Context, address string, log *slog.Logger) error {
	stop := func() {}
	if address != "" {
		place, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("serve metrics: %w", err)
		}
		stop = m.serveOn(place, log)
	}
	m.close()
	m.stop = stop
	return nil
}

func (m *metrics) close() {
	if m.stop != nil {
		m.stop()
	}
	m.stop = nil
}

// serveOn serves until the function it returns is called.
func (m *metrics) serveOn(place net.Listener, log *slog.Logger) (stop func()) {
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// What can be told is told.
		ErrorLog: errorLog, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, //nolint:mnd // scrapers are few
	}))
	const patience = 30 * time.Second
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience, WriteTimeout: patience, IdleTimeout: 4 * patience, ErrorLog: errorLog}
	done := make(chan struct{})
	go func() { // ends with the server, which stop closes
		defer close(done)
		if err := server.Serve(place); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "error", err)
		}
	}()
	log.Info("metrics are served", "address", place.Addr().String())
	return func() {
		_ = server.Close() // scrapes under way end
		<-done
	}
}
