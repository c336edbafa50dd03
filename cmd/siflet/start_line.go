package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// startLine is how an instance was started, from "instance" on. Values of --env are
// left out: there may be secrets among them.
func startLine(cmd *cobra.Command, verb, ref, name string, args []string) []string {
	line := []string{"instance", verb}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if slices.Contains([]string{"env", "foreground", "pid-file"}, flag.Name) {
			return
		}
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			line = append(line, "--"+flag.Name+"="+value)
		}
	})
	return append(append(line, ref, name), args...)
}
