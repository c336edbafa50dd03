// Command siflet runs SIF images: as a node agent for Kubernetes, and for a
// person at the command line.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/linux"
)

// version is set by the linker.
var version = "dev"

func main() {
	// Supervisors and hooks live on: they keep nothing open for who called us.
	_ = linux.CloseOnExecFrom(3) //nolint:mnd // but stdio
	root := rootCommand()
	ran, err := root.ExecuteContextC(context.Background())
	code := report(os.Stderr, ran.CommandPath(), err)
	if status := (statusError{}); errors.As(err, &status) && status.signal != 0 {
		// Whoever waits for siflet sees what became of the process that it ran.
		linux.DieOf(status.signal)
	}
	os.Exit(code)
}

func rootCommand() *cobra.Command {
	w := &workshop{stderr: &console{f: os.Stderr}}
	root := group(
		&cobra.Command{
			Use: "siflet", Short: "Run pods and instances from SIF images",
			SilenceErrors: true, SilenceUsage: true, Version: version,
		},
		agentCommand(), configCommand(), versionCommand(), w.instanceCommand(), w.generateCommand(), w.imageCommand(), w.cacheCommand(), w.pullCommand(), w.registryCommand(),
		w.keyCommand(), w.signCommand(), w.verifyCommand(), w.inspectCommand(), w.runHelpCommand(), w.buildCommand(),
	)
	root.AddCommand(w.actionCommands()...)
	root.AddCommand(w.sifCommand(), w.envCommand(), w.pushCommand(), w.overlayCommand())
	onlyKnownTopics(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{text: err.Error()} })
	// The agent's own flags of these names win over them.
	root.PersistentFlags().StringVar(&w.agent.state, "state-dir", envOr("SIFLET_STATE_DIR", "/var/lib/siflet"), "state directory of the node agent")
	root.PersistentFlags().StringVar(&w.agent.run, "run-dir", envOr("SIFLET_RUN_DIR", "/run/siflet"), "run directory of the node agent")
	return root
}

func envOr(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "show the version", Args: exactly(0, "want no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write([]byte(version + "\n"))
			return err
		},
	}
}
