package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime"
)

func (w *workshop) topCommand() *cobra.Command {
	var (
		once     bool
		interval time.Duration
	)
	cmd := &cobra.Command{
		Use: "top", Short: "show what the pods of the node use, those first that use most", Args: exactly(0, "want no arguments"),
		Long: "Show what the pods of the node use, those first that use most of the processors: again and again on a terminal, else once.\n" +
			"The agent need not run.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRoot(); err != nil {
				return err
			}
			if interval < 100*time.Millisecond {
				return usageError{text: "--interval: want at least 100ms"}
			}
			screen := false
			if f, ok := cmd.OutOrStdout().(interface{ Fd() uintptr }); ok {
				screen = term.IsTerminal(int(f.Fd()))
			}
			return w.top(cmd, interval, once || !screen)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "once, also on a terminal")
	cmd.Flags().DurationVarP(&interval, "interval", "i", time.Second, "look so often; usage is that of the time between two looks")
	return cmd
}

// usage is what the pods use at a moment, by ID.
type usage map[string]runtime.InstanceStats

func (w *workshop) usage(cmd *cobra.Command) (usage, error) {
	node, err := w.node(cmd) // anew each time: pods come and go
	if err != nil {
		return nil, err
	}
	out := usage{}
	for _, v := range node {
		for _, s := range v.AllStats(func(i *runtime.Instance) bool { return i.State == runtime.InstanceReady }, false) {
			out[s.Instance.ID] = s
		}
	}
	return out, nil
}

func (w *workshop) top(cmd *cobra.Command, interval time.Duration, once bool) error {
	before, err := w.usage(cmd)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if !next(cmd.Context(), tick) {
			return nil
		}
		now, err := w.usage(cmd)
		if err != nil {
			return err
		}
		if !once {
			_, _ = io.WriteString(cmd.OutOrStdout(), "\033[H\033[2J")
		}
		if err := table(cmd.OutOrStdout(), topRows(before, now)); err != nil || once {
			return err
		}
		before = now
	}
}

func next(ctx context.Context, tick *time.Ticker) bool {
	select {
	case <-tick.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func topRows(before, now usage) [][]string {
	type pod struct {
		stats  runtime.InstanceStats
		cpu    float64
		memory uint64
	}
	var pods []pod
	var all pod
	for id, s := range now {
		p := pod{stats: s, memory: s.Memory.WorkingSet}
		if was, ok := before[id]; ok && s.Time.After(was.Time) && s.CPU.Usage >= was.CPU.Usage {
			p.cpu = 100 * float64(s.CPU.Usage-was.CPU.Usage) / float64(s.Time.Sub(was.Time))
		}
		all.cpu, all.memory = all.cpu+p.cpu, all.memory+p.memory
		pods = append(pods, p)
	}
	slices.SortFunc(pods, func(a, b pod) int {
		return cmp.Or(cmp.Compare(b.cpu, a.cpu), cmp.Compare(b.memory, a.memory), cmp.Compare(a.stats.Instance.ID, b.stats.Instance.ID))
	})
	rows := [][]string{{"NAMESPACE", "POD", "CPU", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN"}}
	for _, p := range pods {
		s, limit := p.stats, "-"
		if s.Memory.Limit != cgroups.Unlimited && s.Memory.Limit != 0 {
			limit = bytesIEC(s.Memory.Limit)
		}
		rows = append(rows, []string{
			s.Instance.Spec.Metadata.Namespace, podName(s.Instance), fmt.Sprintf("%.1f%%", p.cpu), bytesIEC(p.memory), limit,
			strconv.FormatUint(s.Pids.Current, 10), bytesIEC(s.IO.ReadBytes), bytesIEC(s.IO.WriteBytes),
		})
	}
	return append(rows, []string{"", counted(int64(len(pods)), "pod"), fmt.Sprintf("%.1f%%", all.cpu), bytesIEC(all.memory)})
}
