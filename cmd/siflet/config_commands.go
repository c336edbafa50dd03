package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/config"
)

// configCommand is about the node agent's configuration.
func configCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "config", Short: "show and check the node agent's configuration"},
		&cobra.Command{
			Use: "default", Short: "print the configuration file with every key, explained and as it is by default", Args: exactly(0, "want no arguments"),
			Long: "Print the configuration file with every key, explained and as it is by default:\n\n" +
				"  siflet config default > " + config.File,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := io.WriteString(c.OutOrStdout(), config.DefaultFile())
				return err
			},
		},
		&cobra.Command{
			Use: "show [FILE]", Short: "print the configuration file with every key as the file sets it", Args: atMostOneFile,
			RunE: func(c *cobra.Command, args []string) error {
				settings, err := config.Load(firstOf(args), nil)
				if err != nil {
					return err
				}
				_, err = io.WriteString(c.OutOrStdout(), config.Write(settings))
				return err
			},
		},
		&cobra.Command{
			Use: "check [FILE]", Short: "say what is wrong with a configuration file", Args: atMostOneFile,
			Long: "Say all that is wrong with a configuration file (default " + config.File + "), with file and line: what the\n" +
				"agent would refuse, what its keys point to that is not there or of no use, and, as a warning, what would\n" +
				"have no effect. The exit status is 1 if anything is wrong.",
			RunE: func(c *cobra.Command, args []string) error {
				return checkConfig(c.OutOrStdout(), c.ErrOrStderr(), firstOf(args))
			},
		},
	)
}

func atMostOneFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{text: "want one file"}
	}
	return nil
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// checkConfig prints the problems and ends with status 1 if there are any.
func checkConfig(out, problems io.Writer, name string) error {
	wrong, idle := config.Check(name)
	for _, p := range wrong {
		say(problems, "%s", p)
	}
	for _, p := range idle {
		warn(problems, "%s", p)
	}
	if len(wrong) > 0 {
		return statusError{code: 1}
	}
	_, err := fmt.Fprintln(out, "nothing is wrong with "+config.Name(name))
	return err
}
