package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

// stopOptions are the flags of instance stop.
type stopOptions struct {
	all, force bool
	signal     string
	timeout    int
}

func (w *workshop) stopCommand() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use: "stop [flags] [NAME|GLOB]", Short: "stop instances",
		Long: "Stop instances, for good: no --restart starts them again.\n\nEvery process gets the signal; when the service has ended by one of its own, what is left gets SIGTERM. The\n" +
			"records of what has exited go too. Logs stay.",
		RunE: func(cmd *cobra.Command, args []string) error {
			glob := "*"
			switch {
			case len(args) == 1:
				glob = args[0]
			case len(args) == 0 && o.all:
			default:
				return usageError{text: "invalid command; want one name or pattern, or --all"}
			}
			return w.stop(cmd.Context(), o, glob)
		},
	}
	w.registerUser(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "stop every instance")
	// The document that introduced instances writes it so.
	flags.BoolVar(&o.all, "a", false, "the same as --all")
	_ = flags.MarkHidden("a")
	flags.BoolVarP(&o.force, "force", "F", false, "kill without asking")
	flags.StringVarP(&o.signal, "signal", "s", "", "signal to ask with: a name or number (default: that of --stop-signal or of the image, or SIGTERM)")
	flags.IntVarP(&o.timeout, "timeout", "t", 10, "seconds to wait before killing")
	return cmd
}

func (w *workshop) stop(ctx context.Context, o stopOptions, glob string) error {
	signal := 0
	if o.signal != "" {
		var err error
		if signal, err = runtime.ParseSignal(o.signal); err != nil {
			return messageError{text: fmt.Sprintf("FATAL:   Could not convert stop signal: %s is not a number, nor the name of a signal", o.signal), code: exitFatal}
		}
	}
	if o.force {
		signal = signalKill
	}
	if o.timeout < 0 {
		return usageError{text: "--timeout must not be negative"}
	}
	r, err := callerRoots()
	if err != nil {
		return err
	}
	engine, err := w.open(ctx, r)
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // it gives back locks only
	found, err := matching(engine.Instances(), glob)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return usageError{text: "no instance found"}
	}
	errs := make([]error, len(found))
	var wait sync.WaitGroup
	for n, i := range found {
		signal := signal
		if c := only(engine.Containers(), i.ID); signal == 0 && c != nil {
			signal, _ = runtime.ParseSignal(c.StopSignal) // it was checked when the instance was made
		}
		if signal == 0 {
			signal = signalTerminate
		}
		wait.Go(func() { errs[n] = w.stopOne(ctx, engine, i, signal, time.Duration(o.timeout)*time.Second) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// stopOne asks every process of the instance to end, waits, and takes the
// instance away with whatever did not obey.
func (w *workshop) stopOne(ctx context.Context, engine *runtime.Engine, i runtime.Instance, signal int, grace time.Duration) error {
	subject := fmt.Sprintf("%s instance of %s (PID=%d)", i.Spec.Name, printable(attributes(i).Image), i.InitPID)
	if i.Mute {
		info(w.stderr, "Killing %s (its supervisor does not answer)", i.Spec.Name)
		return engine.RemoveInstance(ctx, i.ID)
	}
	if i.State != runtime.InstanceReady {
		info(w.stderr, "Removing %s, which has ended", i.Spec.Name)
		return engine.RemoveInstance(ctx, i.ID)
	}
	info(w.stderr, "Stopping %s", subject)
	ended, err := engine.EndInstance(ctx, i.ID, signal, grace)
	if err != nil {
		return fmt.Errorf("stop %s: %w", i.Spec.Name, err)
	}
	if !ended {
		info(w.stderr, "Killing %s (Timeout)", subject)
	}
	if err := engine.RemoveInstance(ctx, i.ID); err != nil {
		return fmt.Errorf("stop %s: %w", i.Spec.Name, err)
	}
	return nil
}

// podName is what a person calls a pod: its name.
func podName(i runtime.Instance) string {
	if i.Spec.Metadata.Name != "" {
		return i.Spec.Metadata.Name
	}
	return strings.SplitN(i.Spec.Name, "_", 2)[0]
}

// Signals by their Linux numbers.
const (
	signalKill      = 9
	signalTerminate = 15
)
