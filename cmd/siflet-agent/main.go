// Command siflet-agent is the node agent. It is what "siflet agent" becomes: a
// program of its own, so that a person's commands need not load gRPC.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/manual"
	"github.com/siflet/siflet/runtime/linux"
)

// version is set by the linker.
var version = "dev"

// Exit statuses, as those of siflet's other commands.
const (
	exitUsage = 1
	exitFatal = 255
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func main() {
	// Supervisors and hooks live on: they keep nothing open for who started us.
	_ = linux.CloseOnExecFrom(3) //nolint:mnd // but stdio
	// Other work waits a millisecond at most for a thread in a slow system call.
	linux.CalmMonitor()
	args := os.Args[1:]
	if len(args) == 0 || !slices.Contains([]string{"agent", "manual", cobra.ShellCompRequestCmd}, args[0]) {
		args = append([]string{"agent"}, args...)
	}
	root := &cobra.Command{Use: "siflet", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(agentCommand(), manual.Manual{Section: 8, Elsewhere: map[string]int{"siflet": 1}}.Command())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetArgs(args)
	os.Exit(report(root.ExecuteContext(context.Background())))
}

// report says what went wrong and returns the exit status.
func report(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotReady):
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "Error for command \"agent\": %v\n\nUsage: see siflet agent --help\n", usage)
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "FATAL:   %v\n", err)
		return exitFatal
	}
}
