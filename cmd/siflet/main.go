// Command siflet runs SIF images: as a node agent for Kubernetes, and for a
// person at the command line.
package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/doctor"
	"github.com/siflet/siflet/cmd/internal/manual"
	"github.com/siflet/siflet/runtime/linux"
)

// version is set by the linker.
var version = "dev"

func main() {
	// Supervisors and hooks live on: they keep nothing open for who called us.
	_ = linux.CloseOnExecFrom(3) //nolint:mnd // but stdio
	switch os.Args[0] {
	case linux.GuardName:
		os.Exit(linux.Guard(os.Args[1:]))
	case doctor.ProbeName:
		os.Exit(doctor.Probe(os.Args[1:]))
	case unpackerName:
		os.Exit(runUnpacker())
	case sweeperName:
		sweepLater(os.Args[1:])
		return
	}
	root := rootCommand(os.Args[1:])
	ran, err := root.ExecuteContextC(context.Background())
	code := report(os.Stderr, ran.CommandPath(), err)
	if status := (statusError{}); errors.As(err, &status) && status.signal != 0 {
		// Whoever waits for siflet sees what became of the process that it ran.
		linux.DieOf(status.signal)
	}
	os.Exit(code)
}

// rootCommand is siflet with the command that args begin with or, when they do not begin
// with the name of one, with all: several hundred flags take a millisecond to make.
func rootCommand(args []string) *cobra.Command {
	w := &workshop{stderr: &console{f: os.Stderr}}
	root := group(&cobra.Command{
		Use: "siflet", Short: "Run pods and instances from SIF images",
		SilenceErrors: true, SilenceUsage: true, Version: version,
	})
	commands := w.commands()
	if len(args) > 0 && commands[args[0]] != nil {
		root.AddCommand(commands[args[0]]())
	} else {
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			root.AddCommand(commands[name]())
		}
		root.AddCommand(manual.Manual{Section: 1, Elsewhere: map[string]int{"siflet agent": 8}}.Command())
	}
	onlyKnownTopics(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{text: err.Error()} })
	// The agent's own flags of these names win over them.
	root.PersistentFlags().StringVar(&w.agent.state, "state-dir", envOr("SIFLET_STATE_DIR", "/var/lib/siflet"), "state directory of the node agent")
	root.PersistentFlags().StringVar(&w.agent.run, "run-dir", envOr("SIFLET_RUN_DIR", "/run/siflet"), "run directory of the node agent")
	return root
}

// commands are the makers of siflet's commands by their names.
func (w *workshop) commands() map[string]func() *cobra.Command {
	return map[string]func() *cobra.Command{
		"agent": agentCommand, "config": configCommand, "version": versionCommand, "env": w.envCommand, "doctor": w.doctorCommand,
		"exec": w.execCommand, "run": w.runCommand, "shell": w.shellCommand, "test": w.testCommand,
		"ps": w.psCommand, "pods": w.podsCommand, "top": w.topCommand, "events": w.eventsCommand, "logs": w.logsCommand, "df": w.dfCommand, "system": w.systemCommand,
		"instance": w.instanceCommand, "generate": w.generateCommand,
		"image": w.imageCommand, "cache": w.cacheCommand, "pull": w.pullCommand, "push": w.pushCommand, "registry": w.registryCommand,
		"key": w.keyCommand, "sign": w.signCommand, "verify": w.verifyCommand,
		"build": w.buildCommand, "inspect": w.inspectCommand, "run-help": w.runHelpCommand, "sif": w.sifCommand, "overlay": w.overlayCommand,
	}
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
