// Package manual writes pages for man(1) from commands, so that they say what --help says.
package manual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Manual is a section of the manual.
type Manual struct {
	Section int
	// Elsewhere are commands, by their paths, whose pages others write, in these sections.
	Elsewhere map[string]int
}

// Command is a hidden command that writes pages for all others of its root.
func (m Manual) Command() *cobra.Command {
	return &cobra.Command{
		Use: "manual DIRECTORY", Short: "Write pages for man(1) into a directory", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return m.pages(args[0], c.Root())
		},
	}
}

func (m Manual) pages(dir string, c *cobra.Command) (err error) {
	if m.section(c) == m.Section {
		name := filepath.Join(dir, fmt.Sprintf("%s.%d", pageName(c), m.Section))
		err = os.WriteFile(name, []byte(m.Page(c)), 0o644) //nolint:gosec // for everybody
	}
	for _, sub := range shown(c) {
		err = errors.Join(err, m.pages(dir, sub))
	}
	return err
}

func (m Manual) section(c *cobra.Command) int {
	if other := m.Elsewhere[c.CommandPath()]; other != 0 {
		return other
	}
	return m.Section
}

// shown are the commands below c that people are told of.
func shown(c *cobra.Command) (list []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			list = append(list, sub)
		}
	}
	return list
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// Page is the page of one command.
func (m Manual) Page(c *cobra.Command) string {
	var b strings.Builder
	c.InitDefaultHelpFlag()
	fmt.Fprintf(&b, ".TH %q %q %q %q %q\n", strings.ToUpper(pageName(c)), strconv.Itoa(m.Section), "", "siflet", "siflet")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", plain(pageName(c)), plain(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", plain(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", paragraphs(text))
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s.fi\n", lines(c.Example))
	}
	if subs := shown(c); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range subs {
			fmt.Fprintf(&b, ".TP\n.BR %s (%d)\n%s\n", plain(pageName(sub)), m.section(sub), plain(sub.Short))
		}
	}
	b.WriteString(options("OPTIONS", c.NonInheritedFlags()))
	b.WriteString(options("OPTIONS OF EVERY COMMAND", c.InheritedFlags()))
	if c.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (%d)\n", plain(pageName(c.Parent())), m.section(c.Parent()))
	}
	return b.String()
}

func options(title string, flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, ".SH %s\n", title)
		}
		kind, usage := pflag.UnquoteUsage(f)
		word := "--" + f.Name
		if f.Shorthand != "" {
			word = "-" + f.Shorthand + ", " + word
		}
		if kind != "" {
			word += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.DefValue != "0" && !strings.Contains(usage, "(default ") {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", plain(word), plain(usage))
	})
	return b.String()
}

// paragraphs keeps those that are indented, and tables, as they are.
func paragraphs(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, " ") || strings.Contains(p, "\n ") {
			fmt.Fprintf(&b, ".nf\n%s.fi\n", lines(p))
			continue
		}
		b.WriteString(lines(p))
	}
	return b.String()
}

func lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(plain(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// plain is a text that means nothing to troff. A hyphen stays one that can be copied.
func plain(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`)
		}
		b.WriteString(line)
	}
	return b.String()
}
