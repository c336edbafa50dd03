package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variable is one that siflet reads, as "env --json" shows it.
type variable struct {
	Name string `json:"name"`
	// Value is what is in effect, whether the variable is set or not.
	Value string `json:"value"`
	Set   bool   `json:"set"`
	Means string `json:"means"`
}

func (w *workshop) envCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "env", Short: "show the environment variables that siflet reads, and what is in effect",
		Long: "Show the environment variables that siflet reads, and what is in effect, whether they are set or not;\n" +
			"then those that are set for flags: SIFLET_BIND for --bind and so on, with APPTAINER_ and SINGULARITY_\n" +
			"as other prefixes. A password is not shown.",
		Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := w.variables()
			if err != nil {
				return err
			}
			if asJSON {
				return writeSafeJSON(cmd.OutOrStdout(), map[string]any{"variables": list})
			}
			out := newSafeWriter(cmd.OutOrStdout())
			for _, v := range list {
				out.printf("# %s\n%s='%s'\n", v.Means, v.Name, strings.ReplaceAll(v.Value, "'", `'\''`))
			}
			return out.err
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	return cmd
}

// variables are those with a meaning of their own, then those that set flags.
func (w *workshop) variables() ([]variable, error) {
	r, err := callerRoots()
	if err != nil {
		return nil, err
	}
	sources := w.sources()
	list := []variable{
		// The state root is .../hosts/HOST.
		{Name: "SIFLET_CONFIGDIR", Value: filepath.Dir(filepath.Dir(r.state)), Means: "where your instances, images and logs are"},
		{Name: "SIFLET_STATE_DIR", Value: w.agent.state, Means: "state directory of the node agent"},
		{Name: "SIFLET_RUN_DIR", Value: w.agent.run, Means: "run directory of the node agent"},
		{Name: "SIFLET_CGROUP_PARENT", Value: cgroupParent(), Means: "cgroup that your instances are below"},
		{Name: "SIFLET_REGISTRY_HOSTS", Value: strings.Join(sources.Hosts, string(filepath.ListSeparator)), Means: "where registries' mirrors and certificates are said"},
		{Name: "SIFLET_POLICY_FILE", Value: sources.Policy, Means: "whose images run"},
	}
	for i := range list {
		_, list[i].Set = os.LookupEnv(list[i].Name)
	}
	for _, v := range []variable{
		{Name: "XDG_CONFIG_HOME", Means: "where your keys and credentials are, below siflet/; empty is ~/.config"},
		{Name: "DOCKER_CONFIG", Means: "where Docker's credentials are looked for; empty is ~/.docker"},
		{Name: "XDG_RUNTIME_DIR", Means: "where Podman's credentials are looked for"},
	} {
		v.Value, v.Set = os.LookupEnv(v.Name)
		list = append(list, v)
	}
	return append(list, flagVariables(rootCommand(nil))...), nil
}

// flagVariables are those that are set for flags of commands that read them.
func flagVariables(root *cobra.Command) []variable {
	var list []variable
	for _, path := range [][]string{{"exec"}, {"shell"}, {"instance", "start"}, {"pull"}, {"push"}} {
		cmd, rest, err := root.Find(path)
		if err != nil || len(rest) > 0 {
			continue
		}
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			name, value := setFor(flag.Name, os.LookupEnv)
			only := map[string][]string{"pull": pullVariables(), "push": pushVariables()}[path[0]]
			if only != nil && !slices.Contains(only, flag.Name) {
				return
			}
			if name == "" || slices.ContainsFunc(list, func(v variable) bool { return v.Name == name }) {
				return
			}
			if strings.Contains(flag.Name, "password") {
				value = "(not shown)"
			}
			list = append(list, variable{Name: name, Value: value, Set: true, Means: "--" + flag.Name})
		})
	}
	slices.SortFunc(list, func(a, b variable) int { return strings.Compare(a.Name, b.Name) })
	return list
}
