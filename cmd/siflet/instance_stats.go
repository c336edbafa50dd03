package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime"
)

func (w *workshop) statsCommand() *cobra.Command {
	var asJSON, once bool
	cmd := &cobra.Command{
		Use: "stats [flags] NAME", Short: "show what an instance or a pod uses",
		Args: exactly(1, "want the name of an instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := w.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return w.showStats(cmd.Context(), cmd.OutOrStdout(), t, asJSON, once || asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON, once")
	w.registerUser(cmd)
	cmd.Flags().BoolVar(&once, "no-stream", false, "once, not every second")
	return cmd
}

// stats measures a pod, or what runs in an instance: its limits are those of
// its one container, as long as that has a process.
func (t target) stats() (cgroups.Stats, error) {
	if t.instance.Spec.Pod || t.container.State != runtime.ContainerRunning {
		all, err := t.view.InstanceStats(t.instance.ID)
		return all.Stats, err
	}
	one, err := t.view.ContainerStats(t.container.ID)
	return one.Stats, err
}

func (w *workshop) showStats(ctx context.Context, out io.Writer, t target, asJSON, once bool) error {
	kept := attributes(t.instance)
	if kept.Image == "" {
		kept.Image = t.container.Spec.ImageReference
	}
	pid := t.instance.InitPID
	if pid == 0 {
		pid = t.container.PID
	}
	if !asJSON {
		info(w.stderr, "Stats for %s instance of %s (PID=%d)", t.instance.Spec.Name, kept.Image, pid)
	}
	before, err := t.stats()
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "\t")
		return encoder.Encode(ociStats(before))
	}
	screen := false
	if f, ok := out.(interface{ Fd() uintptr }); ok {
		screen = term.IsTerminal(int(f.Fd()))
	}
	period := time.Second
	if once {
		// Usage is a rate: it takes two looks.
		period = 100 * time.Millisecond
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, err := t.stats()
		if err != nil {
			return fmt.Errorf("the instance ended: %w", err)
		}
		if screen && !once {
			_, _ = fmt.Fprint(out, "\033[H\033[2J")
		}
		if err := table(out, statsRows(t.instance.Spec.Name, before, now)); err != nil || once {
			return err
		}
		before = now
	}
}

func statsRows(name string, before, now cgroups.Stats) [][]string {
	cpu := 0.0
	if elapsed := now.Time.Sub(before.Time); elapsed > 0 {
		cpu = 100 * float64(now.CPU.Usage-before.CPU.Usage) / float64(elapsed)
	}
	limit := now.Memory.Limit
	if limit == cgroups.Unlimited {
		limit = totalMemory()
	}
	share := 0.0
	if limit > 0 {
		share = 100 * float64(now.Memory.Usage) / float64(limit)
	}
	return [][]string{
		{"INSTANCE NAME", "CPU USAGE", "MEM USAGE / LIMIT", "MEM %", "BLOCK I/O", "PIDS"},
		{
			name, fmt.Sprintf("%.2f%%", cpu), bytesIEC(now.Memory.Usage) + " / " + bytesIEC(limit),
			fmt.Sprintf("%.2f%%", share), bytesSI(now.IO.ReadBytes) + " / " + bytesSI(now.IO.WriteBytes),
			strconv.FormatUint(now.Pids.Current, 10),
		},
	}
}

// ociStats lays the figures out as the JSON of Singularity's stats does.
func ociStats(s cgroups.Stats) map[string]any {
	entry := func(op string, value uint64) map[string]any {
		return map[string]any{"major": 0, "minor": 0, "op": op, "value": value}
	}
	return map[string]any{
		"cpu_stats": map[string]any{
			"cpu_usage": map[string]any{
				"total_usage": s.CPU.Usage, "usage_in_kernelmode": s.CPU.System, "usage_in_usermode": s.CPU.User,
			},
			"throttling_data": map[string]any{
				"periods": s.CPU.Periods, "throttled_periods": s.CPU.ThrottledPeriods, "throttled_time": s.CPU.Throttled,
			},
		},
		"memory_stats": map[string]any{
			"usage":      map[string]any{"usage": s.Memory.Usage, "limit": s.Memory.Limit},
			"swap_usage": map[string]any{"usage": s.Memory.Swap, "limit": s.Memory.SwapLimit},
			"stats": map[string]any{
				"rss": s.Memory.RSS, "working_set": s.Memory.WorkingSet,
				"pgfault": s.Memory.Faults, "pgmajfault": s.Memory.MajorFaults,
			},
		},
		"pids_stats": map[string]any{"current": s.Pids.Current, "limit": s.Pids.Limit},
		"blkio_stats": map[string]any{
			"io_service_bytes_recursive": []any{entry("Read", s.IO.ReadBytes), entry("Write", s.IO.WriteBytes)},
			"io_serviced_recursive":      []any{entry("Read", s.IO.ReadOps), entry("Write", s.IO.WriteOps)},
		},
	}
}
