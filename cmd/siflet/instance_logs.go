package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

// logOptions are the flags of instance logs.
type logOptions struct {
	follow, stdout, stderr, timestamps bool
	tail                               int
	since                              string
	from                               time.Time
}

func (w *workshop) logsCommand() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "logs [flags] NAME", Short: "show what an instance or a pod has written",
		Long: "Show what an instance or a pod has written, both of its outputs in the order they came.\n\n" +
			"Logs stay when an instance is stopped; one that is started with the same name goes on with them.",
		Args: exactly(1, "want the name of an instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.stdout && !o.stderr {
				o.stdout, o.stderr = true, true
			}
			var err error
			if o.from, err = parseSince(o.since, time.Now()); err != nil {
				return err
			}
			l, err := w.findLog(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return l.show(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	w.registerUser(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on as more is written, until the service has ended for good")
	flags.IntVar(&o.tail, "tail", -1, "start this many lines before the end")
	flags.StringVar(&o.since, "since", "", "start at a time, 2026-01-02T15:04:05Z, or so long ago, 10m")
	flags.BoolVarP(&o.timestamps, "timestamps", "t", false, "begin each line with its time")
	flags.BoolVar(&o.stdout, "stdout", false, "only what went to standard output")
	flags.BoolVar(&o.stderr, "stderr", false, "only what went to standard error")
	return cmd
}

// parseSince reads a time or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{text: fmt.Sprintf("--since %q: want a time such as 2026-01-02T15:04:05, or how long ago: 10m", text)}
}

// findLog finds the log of an instance or pod, or that which a stopped instance
// has left.
func (w *workshop) findLog(ctx context.Context, name string) (logReader, error) {
	t, err := w.target(ctx, name)
	if errors.Is(err, runtime.ErrNotFound) {
		return w.keptLog(name, err)
	}
	if err != nil {
		return logReader{}, err
	}
	if t.container.LogPath == "" {
		return logReader{}, fmt.Errorf("%s keeps no log", name)
	}
	live := func(ctx context.Context) bool {
		again, err := w.target(ctx, name)
		if err != nil || again.instance.Spec.Pod {
			return err == nil && again.container.State == runtime.ContainerRunning
		}
		return statusOf(again.instance, &again.container).up()
	}
	return logReader{path: t.container.LogPath, rotated: !t.instance.Spec.Pod, live: live}, nil
}

func (w *workshop) keptLog(name string, cause error) (logReader, error) {
	r, err := callerRoots()
	if err != nil || !validInstanceName(name) {
		return logReader{}, errors.Join(err, cause)
	}
	path := logPath(r, name)
	if _, err := os.Stat(path); err != nil {
		return logReader{}, cause
	}
	return logReader{path: path, rotated: true, live: func(context.Context) bool { return false }}, nil
}

func exactly(n int, text string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{text: text}
		}
		return nil
	}
}
