package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cmd/internal/doctor"
)

// doctorCommand looks at the machine.
func (w *workshop) doctorCommand() *cobra.Command {
	var asJSON bool
	m := doctor.Machine{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "find out whether siflet can work on this machine, and what to do if not", Args: exactly(0, "want no arguments"),
		Long: "Find out whether siflet can work on this machine, and what to do if not: its programs and configuration, the kernel,\n" +
			"file systems, cgroups, network, room on disks, the clock, and the node agent, if it runs. Most of it is tried out,\n" +
			"where nobody sees it; nothing is left of that.\n\n" +
			"For root that is what a node needs, for others what their own commands need. A warning is what works, but not as it\n" +
			"might, or what not everybody needs. The exit status is 0 if there is no problem, and 1 if there is any.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := callerRoots()
			if err != nil {
				return err
			}
			m.Home, m.HomeRun = own.base, own.run
			if cmd.Flags().Changed("state-dir") || os.Getenv("SIFLET_STATE_DIR") != "" {
				m.StateDir = w.agent.state
			}
			if cmd.Flags().Changed("run-dir") || os.Getenv("SIFLET_RUN_DIR") != "" {
				m.RunDir = w.agent.run
			}
			found := m.Examine(cmd.Context())
			if err := writeFindings(cmd.OutOrStdout(), found, asJSON); err != nil {
				return err
			}
			if _, problems := tally(found); problems > 0 {
				return statusError{code: exitUsage}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	cmd.Flags().StringVar(&m.ConfigFile, "config", "", "the agent's configuration file (default "+config.File+", if there)")
	return cmd
}

func tally(found []doctor.Finding) (warnings, problems int) {
	for _, f := range found {
		switch f.Level {
		case doctor.Warning:
			warnings++
		case doctor.Problem:
			problems++
		default:
		}
	}
	return warnings, problems
}

func writeFindings(w io.Writer, found []doctor.Finding, asJSON bool) error {
	warnings, problems := tally(found)
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "\t")
		return encoder.Encode(map[string]any{"checks": found, "warnings": warnings, "problems": problems})
	}
	for _, f := range found {
		text := fmt.Sprintf("%-8s %s: %s\n", f.Level, f.Check, readable(f.Text))
		if f.Next != "" {
			text += fmt.Sprintf("%-8s   %s\n", "", f.Next)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s, %s\n", counted(int64(problems), "problem"), counted(int64(warnings), "warning"))
	return err
}
