package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/linux"
)

// agentCommand becomes the node agent, which is a program of its own.
func agentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "agent", Short: "run the node agent in the foreground", DisableFlagParsing: true,
		ValidArgsFunction: agentCompletions,
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

// agentCompletions asks the agent's own program for what can be said to it.
func agentCompletions(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	program, err := setup.Program("", "siflet-agent")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	words := append([]string{cobra.ShellCompRequestCmd, "agent"}, append(slices.Clone(args), begun)...)
	out, err := exec.CommandContext(cmd.Context(), program, words...).Output() //nolint:gosec // our own program
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	last := lines[len(lines)-1]
	directive, perr := strconv.Atoi(strings.TrimPrefix(last, ":"))
	if err != nil || perr != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:len(lines)-1], cobra.ShellCompDirective(directive)
}
