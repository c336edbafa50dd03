package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/linux"
)

// agentCommand becomes the node agent, which is a program of its own.
func agentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "agent", Short: "run the node agent in the foreground", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := setup.Program("", "siflet-agent")
			if err != nil {
				return err
			}
			// Its process looks as it was called.
			err = linux.Become(program, append([]string{"siflet", "agent"}, args...), os.Environ())
			return fmt.Errorf("start %s: %w", program, err)
		},
	}
}
