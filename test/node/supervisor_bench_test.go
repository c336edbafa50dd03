package node

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// pss is the process's share of memory in bytes: what would be free without it.
func pss(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return kb << 10
		}
	}
	b.Fatal("no Pss line")
	return 0
}

// BenchmarkSupervisorMemory reports what a supervisor and a sinit cost when a
// hundred of each run, every one with a running container that has logged.
func BenchmarkSupervisorMemory(b *testing.B) {
	const instances = 100
	binary, root := buildInstance(b)
	for _, bench := range []struct {
		name   string
		shared bool
		execs  int
	}{{"alone", false, 0}, {"with sinit", true, 0}, {"after execs", false, 300}} {
		b.Run(bench.name, func(b *testing.B) {
			mode := program.PIDContainer
			if bench.shared {
				mode = program.PIDShared
			}
			var all []*instance
			for range instances {
				in := spawnInstance(b, binary, root, supervisor.Config{SharedPID: bench.shared, Loopback: true})
				in.startProgram(b, "a", in.program(mode, "sh", "-c", "echo hello; echo err >&2; sleep 1000"))
				all = append(all, in)
			}
			for _, in := range all[:min(bench.execs, 10)] {
				for range bench.execs {
					s := in.exec(b, supervisor.ExecRequest{Timeout: time.Second}, "exit 0", nil, nil)
					waitSession(b, s)
				}
			}
			if bench.execs > 0 {
				all = all[:10]
			}
			<-time.After(3 * time.Second) // what is given back when idle is
			for b.Loop() {
				super, init := 0, 0
				for _, in := range all {
					super += pss(b, in.proc.PID)
					if bench.shared {
						init += pss(b, in.proc.Hello.InitPID)
					}
				}
				b.ReportMetric(float64(super)/float64(len(all))/1024, "supervisor-kB")
				b.ReportMetric(float64(init)/float64(len(all))/1024, "sinit-kB")
			}
		})
	}
}

// BenchmarkSupervisorStart measures a supervisor from its start to its hello,
// and a container from the request to the reply.
func BenchmarkSupervisorStart(b *testing.B) {
	binary, root := buildInstance(b)
	b.Run("supervisor", func(b *testing.B) {
		for b.Loop() {
			in := spawnInstance(b, binary, root, supervisor.Config{Loopback: true})
			b.StopTimer()
			in.shutdown(b)
			b.StartTimer()
		}
	})
	b.Run("container", func(b *testing.B) {
		in := spawnInstance(b, binary, root, supervisor.Config{Loopback: true})
		n := 0
		for b.Loop() {
			n++
			id := strconv.Itoa(n)
			in.start(b, id, "true")
			b.StopTimer()
			in.wait(b, id)
			if err := in.client.Forget(deadline(b), id); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}
