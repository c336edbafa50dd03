package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/linux"
)

// group is a command that only has others below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("unknown command %q", args[0])
		if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
			text += fmt.Sprintf("; did you mean %q?", meant[0])
		}
		return usageError{text: text}
	}
	return cmd
}

// onlyKnownTopics makes "help" say that there is no command of a name.
func onlyKnownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 && found.HasSubCommands() {
					err = found.RunE(found, rest)
				}
				return err
			}
		}
	}
}

func needRoot() error {
	if !linux.IsRoot() {
		return errors.New("that is for root alone, as the node's pods and images are: use sudo")
	}
	return nil
}

// atLeast wants n arguments or says what is missing.
func atLeast(n int, text string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{text: text}
		}
		return nil
	}
}

// unwrapPath drops the path that an os error repeats.
func unwrapPath(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
