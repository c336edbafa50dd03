package network

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// used is the CPU time of this process, the kernel's work for it included.
func used() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func isolateBenchmark(b *testing.B) {
	b.Helper()
	if os.Getenv(isolated) == "" {
		b.Skip("needs root: network namespaces")
	}
	enterIsolation(b)
}

// crowd attaches a hundred holders that stay, and returns requests for more.
func crowd(b *testing.B, ports bool) (m *machine, reqs []Request) {
	b.Helper()
	m = newMachine(b, nil)
	for i := range 100 {
		m.attached(fmt.Sprint("crowd-", i))
	}
	for i := range b.N {
		req := m.request(fmt.Sprint("holder-", i))
		if ports {
			req.Ports = []Port{{Host: uint16(10000 + i), Container: 80}}
		}
		reqs = append(reqs, req)
	}
	return m, reqs
}

func measure(b *testing.B, ports, detach bool) {
	b.Helper()
	isolateBenchmark(b)
	m, reqs := crowd(b, ports)
	results := make([]Result, len(reqs))
	attach := func() {
		for i := range reqs {
			var err error
			if results[i], err = m.Attach(b.Context(), reqs[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	if detach {
		attach()
	}
	start := used()
	b.ResetTimer()
	if detach {
		for i := range reqs {
			if err := m.Detach(b.Context(), reqs[i], results[i]); err != nil {
				b.Fatal(err)
			}
		}
	} else {
		attach()
	}
	b.StopTimer()
	b.ReportMetric(float64((used()-start).Microseconds())/float64(b.N), "cpu-µs/op")
	for i := range reqs {
		if err := m.Detach(b.Context(), reqs[i], results[i]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttach(b *testing.B)      { measure(b, false, false) }
func BenchmarkAttachPorts(b *testing.B) { measure(b, true, false) }
func BenchmarkDetach(b *testing.B)      { measure(b, false, true) }
func BenchmarkDetachPorts(b *testing.B) { measure(b, true, true) }

func BenchmarkCounters(b *testing.B) {
	isolateBenchmark(b)
	m := newMachine(b, nil)
	req, res := m.attached("a")
	b.Run("outside", func(b *testing.B) {
		for b.Loop() {
			if _, err := m.Counters(req, res); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			if _, err := countersOf(os.Getpid()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("inside", func(b *testing.B) {
		for b.Loop() {
			if _, err := Counters(req.Netns); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFirstAttach is what a process pays that attaches one holder, as the
// command line does.
func BenchmarkFirstAttach(b *testing.B) {
	isolateBenchmark(b)
	m, reqs := crowd(b, true)
	results := make([]Result, len(reqs))
	start := used()
	b.ResetTimer()
	for i := range reqs {
		n, err := New(m.cfg)
		if err != nil {
			b.Fatal(err)
		}
		if results[i], err = n.Attach(b.Context(), reqs[i]); err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
	b.StopTimer()
	b.ReportMetric(float64((used()-start).Microseconds())/float64(b.N), "cpu-µs/op")
	for i := range reqs {
		if err := m.Detach(b.Context(), reqs[i], results[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAttachAtOnce attaches sixteen at a time.
func BenchmarkAttachAtOnce(b *testing.B) {
	isolateBenchmark(b)
	m, reqs := crowd(b, false)
	results := make([]Result, len(reqs))
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	b.ResetTimer()
	for i := range reqs {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			var err error
			if results[i], err = m.Attach(b.Context(), reqs[i]); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	for i := range reqs {
		if err := m.Detach(b.Context(), reqs[i], results[i]); err != nil {
			b.Fatal(err)
		}
	}
}
