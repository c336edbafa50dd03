package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// TestReferenceSaysWhatHelpSays makes the reference of the command line from the commands.
func TestReferenceSaysWhatHelpSays(t *testing.T) {
	const path, begin = "../../docs/cli.md", "<!-- What follows is made from the commands: go test ./cmd/siflet -run Reference -update -->\n"
	for _, name := range []string{"SIFLET_STATE_DIR", "SIFLET_RUN_DIR"} {
		t.Setenv(name, "") // else it is the default of a flag
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), begin)
	if !found {
		t.Fatalf("%s has no line %q", path, begin)
	}
	var r reference
	r.add(rootCommand(nil))
	want := head + begin + r.text.String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("go test ./cmd/siflet -run Reference -update mends this (-want +got):\n%s", diff)
	}
}

// reference is the text about commands, one after another.
type reference struct {
	text strings.Builder
	big  *cobra.Command // whose many flags others have, too
}

func (r *reference) add(c *cobra.Command) {
	if c.HasParent() {
		r.command(c)
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			r.add(sub)
		}
	}
}

func (r *reference) command(c *cobra.Command) {
	about := strings.TrimSpace(c.Long)
	if about == "" {
		about = c.Short
	}
	lines := []string{c.UseLine(), "", about}
	if c.Example != "" {
		lines = append(lines, "", strings.Trim(c.Example, "\n"))
	}
	more, as := r.flags(c)
	if usages := strings.TrimRight(more.FlagUsages(), "\n"); usages != "" {
		lines = append(lines, "", usages)
	}
	fmt.Fprintf(&r.text, "\n## %s\n\n```text\n%s\n```\n%s", c.CommandPath(), strings.Join(lines, "\n"), as)
}

// flags are those of a command and, if it has many that an earlier one has too, a line
// about that in their place.
func (r *reference) flags(c *cobra.Command) (more *pflag.FlagSet, as string) {
	const many = 40
	more = pflag.NewFlagSet("", pflag.ContinueOnError)
	more.SortFlags = c.LocalFlags().SortFlags
	shared, count := map[string]bool{}, 0
	own, global := c.LocalFlags(), c.InheritedFlags()
	own.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden || global.Lookup(f.Name) != nil {
			return
		}
		count++
		if r.big != nil {
			other := r.big.LocalFlags().Lookup(f.Name)
			if other != nil && other.Usage == f.Usage && !other.Hidden {
				shared[f.Name] = true
				return
			}
		}
		more.AddFlag(f)
	})
	if len(shared) < many {
		for name := range shared {
			more.AddFlag(own.Lookup(name))
		}
		if r.big == nil && count >= many {
			r.big = c
		}
		return more, ""
	}
	var lacks []string
	r.big.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden && !shared[f.Name] && more.Lookup(f.Name) == nil {
			lacks = append(lacks, "`--"+f.Name+"`")
		}
	})
	path := r.big.CommandPath()
	as = fmt.Sprintf("\nIt has the flags of [%s](#%s), too", path, strings.ReplaceAll(path, " ", "-"))
	if len(lacks) > 0 {
		as += ", but for " + strings.Join(lacks, ", ")
	}
	return more, as + ".\n"
}
