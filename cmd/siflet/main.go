// Command siflet runs SIF images: as a node agent for Kubernetes, and for a
// person at the command line.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	root := rootCommand()
	ran, err := root.ExecuteContextC(context.Background())
	os.Exit(report(os.Stderr, ran.Name(), err))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "siflet", Short: "Run pods and instances from SIF images",
		SilenceErrors: true, SilenceUsage: true, Version: version,
	}
	w := &workshop{stderr: os.Stderr, agent: roots{
		state: envOr("SIFLET_STATE_DIR", "/var/lib/siflet"), run: envOr("SIFLET_RUN_DIR", "/run/siflet"),
	}}
	root.AddCommand(agentCommand(), versionCommand(), w.instanceCommand())
	root.AddCommand(w.actionCommands()...)
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
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write([]byte(version + "\n"))
			return err
		},
	}
}
