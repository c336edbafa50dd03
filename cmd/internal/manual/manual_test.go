package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestPageSaysWhatHelpSays(t *testing.T) {
	root := &cobra.Command{Use: "top", Short: "the top"}
	c := &cobra.Command{
		Use: "run [flags] FILE", Short: "run a file", Run: func(*cobra.Command, []string) {},
		Long: "Run a file.\n.hidden files too: a\\b.\n\n  run a   first\n  run b   second",
	}
	c.Flags().StringP("user", "u", "root", "be this `NAME`")
	c.Flags().Bool("quiet", false, "say nothing")
	c.Flags().Bool("secret", false, "not told")
	_ = c.Flags().MarkHidden("secret")
	root.AddCommand(c)
	root.PersistentFlags().String("dir", "", "the directory")
	want := `.TH "TOP-RUN" "1" "" "siflet" "siflet"
.SH NAME
top\-run \- run a file
.SH SYNOPSIS
.B top run [flags] FILE
.SH DESCRIPTION
Run a file.
\&.hidden files too: a\eb.
.PP
.nf
  run a   first
  run b   second
.fi
.SH OPTIONS
.TP
.B \-h, \-\-help
help for run
.TP
.B \-\-quiet
say nothing
.TP
.B \-u, \-\-user NAME
be this NAME (default root)
.SH OPTIONS OF EVERY COMMAND
.TP
.B \-\-dir string
the directory
.SH SEE ALSO
.BR top (1)
`
	if diff := cmp.Diff(want, Manual{Section: 1}.Page(c)); diff != "" {
		t.Errorf("Page() (-want +got):\n%s", diff)
	}
}

func TestPagesAreOfWhatIsShown(t *testing.T) {
	do := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "top", Short: "the top"}
	root.AddCommand(&cobra.Command{Use: "a", Run: do}, &cobra.Command{Use: "b", Run: do}, &cobra.Command{Use: "c", Run: do, Hidden: true}, Manual{8, map[string]int{"top b": 1}}.Command())
	dir := filepath.Join(t.TempDir(), "new")
	root.SetArgs([]string{"manual", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "top-a.8 top.8" {
		t.Errorf("pages are %s, want top-a.8 top.8", got)
	}
}
