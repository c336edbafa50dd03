package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/config"
)

// configCommand is about the node agent's configuration.
func configCommand() *cobra.Command {
	c := group(
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
			Long: "Print the configuration file (default " + config.File + ", if there) with every key as the file sets it. The exit status\n" +
				"is 1, and all is told that is wrong, if the agent would refuse the file.",
			RunE: func(c *cobra.Command, args []string) error {
				name := fileOf(c, args)
				settings, err := config.Load(name, nil)
				if err != nil {
					return tellProblems(c.ErrOrStderr(), config.ProblemsOf(name, err))
				}
				_, err = io.WriteString(c.OutOrStdout(), config.Write(settings))
				return err
			},
		},
		&cobra.Command{
			Use: "check [FILE]", Short: "say what is wrong with a configuration file", Args: atMostOneFile,
			Long: "Say all that is wrong with a configuration file (default " + config.File + ", if there), with file and line:\n" +
				"what the agent would refuse, what its keys point to that is not there or of no use, and, as a warning, what\n" +
				"would have no effect. FILE and --config FILE are the same.\n\n" +
				"The exit status is 0 if nothing is wrong, with or without warnings, and if there is no file and none is named:\n" +
				"the agent goes by its defaults then. It is 1 if anything is wrong, or if a file that is named can't be read.",
			RunE: func(c *cobra.Command, args []string) error {
				return checkConfig(c.OutOrStdout(), c.ErrOrStderr(), fileOf(c, args))
			},
		},
	)
	for _, sub := range c.Commands() {
		if sub.Name() != "default" {
			sub.Flags().String("config", "", "the file, as \"siflet agent\" takes it (default "+config.File+", if there)")
		}
	}
	return c
}

func atMostOneFile(c *cobra.Command, args []string) error {
	if len(args) > 1 || len(args) == 1 && c.Flags().Changed("config") {
		return usageError{text: "want one file"}
	}
	return nil
}

// fileOf is the file that is named, one way or the other.
func fileOf(c *cobra.Command, args []string) string {
	if len(args) == 0 {
		return c.Flag("config").Value.String()
	}
	return args[0]
}

// checkConfig prints the problems and ends with status 1 if there are any.
func checkConfig(out, problems io.Writer, name string) error {
	wrong, idle := config.Check(name)
	err := tellProblems(problems, wrong)
	for _, p := range idle {
		warn(problems, "%s", p)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, verdict(name, len(idle)))
	return err
}

// tellProblems ends with status 1 if there are any.
func tellProblems(w io.Writer, wrong config.Problems) error {
	for _, p := range wrong {
		say(w, "%s", p)
	}
	if len(wrong) > 0 {
		return statusError{code: exitUsage}
	}
	return nil
}

func verdict(name string, warnings int) string {
	switch {
	case config.Missing(name):
		return "there is no " + config.File + ", so the agent goes by its defaults"
	case warnings == 1:
		return "the agent takes " + config.Name(name) + ", with the warning above"
	case warnings > 1:
		return fmt.Sprintf("the agent takes %s, with the %d warnings above", config.Name(name), warnings)
	default:
		return "nothing is wrong with " + config.Name(name)
	}
}
