package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/inspect"
)

// inspectOptions are the flags of inspect.
type inspectOptions struct {
	chosen      map[inspect.Part]*bool
	app         string
	all, asJSON bool
}

func (w *workshop) inspectCommand() *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use: "inspect [flags] IMAGE", Short: "show what an image says of itself",
		Long: "Show labels, scripts, environment, apps and the definition file of an image, without running it:\n" +
			"of a SIF file, a directory with a root file system, a name in the node's store, or of docker://,\n" +
			"oras://, library://, https:// and archives, which are pulled first. Nobody need be root for it.\n\n" +
			"Of instance://NAME, an instance or a pod, it shows what siflet instance inspect does.",
		Example: "  siflet inspect web.sif\n  siflet inspect --runscript --app client web.sif\n  siflet inspect --all web.sif",
		Args:    exactly(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name, ok := strings.CutPrefix(args[0], "instance://"); ok {
				return w.showInstance(cmd, name)
			}
			said, err := w.said(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return o.show(cmd.OutOrStdout(), said)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	o.chosen = map[inspect.Part]*bool{}
	for _, f := range []struct {
		part                inspect.Part
		name, letter, usage string
	}{
		{inspect.Labels, "labels", "l", "show the labels (the default)"},
		{inspect.Deffile, "deffile", "d", "show the definition file that it was built from"},
		{inspect.Runscript, "runscript", "r", "show the runscript"},
		{inspect.Startscript, "startscript", "s", "show the startscript"},
		{inspect.Test, "test", "t", "show the test script"},
		{inspect.Environment, "environment", "e", "show the environment scripts"},
		{inspect.Helpfile, "helpfile", "H", "show the help"},
		{inspect.Apps, "list-apps", "", "list the apps (SCIF)"},
	} {
		o.chosen[f.part] = flags.BoolP(f.name, f.letter, false, f.usage)
	}
	flags.StringVar(&o.app, "app", "", "of an app of the image (SCIF), not of the image itself")
	flags.BoolVar(&o.all, "all", false, "show everything, as JSON")
	flags.BoolVarP(&o.asJSON, "json", "j", false, "as JSON")
	return cmd
}

// parts are those that were asked for.
func (o *inspectOptions) parts() []inspect.Part {
	if o.all {
		return inspect.Parts()
	}
	parts := slices.DeleteFunc(inspect.Parts(), func(p inspect.Part) bool { return !*o.chosen[p] })
	if len(parts) == 0 {
		return []inspect.Part{inspect.Labels}
	}
	return parts
}

// noApp is what Singularity says of an app that is not there.
func noApp(err error, app string) error {
	if errors.Is(err, inspect.ErrNoApp) {
		return messageError{text: "Could not locate the container application: " + app, code: exitUsage}
	}
	return err
}

func (o *inspectOptions) show(out io.Writer, said contract.Attributes) error {
	app := o.app
	if o.all {
		app = ""
	}
	parts := o.parts()
	said, err := inspect.Only(said, app, parts...)
	if err != nil {
		return noApp(err, app)
	}
	if o.asJSON || o.all {
		document := contract.Metadata{Type: "container"}
		document.Data.Attributes = said
		return writeSafeJSON(out, document)
	}
	of := inspect.Of(said, app)
	w := newSafeWriter(out)
	text := func(text string) {
		if text != "" {
			w.printf("%s\n", text)
		}
	}
	for _, p := range parts {
		switch p {
		case inspect.Apps:
			for _, name := range slices.Sorted(maps.Keys(said.Apps)) {
				text(name)
			}
		case inspect.Deffile:
			text(said.Deffile)
		case inspect.Runscript:
			text(of.Runscript)
		case inspect.Startscript:
			text(of.Startscript)
		case inspect.Test:
			text(of.Test)
		case inspect.Helpfile:
			text(of.Helpfile)
		case inspect.Environment:
			for _, name := range slices.Sorted(maps.Keys(of.Environment)) {
				w.printf("=== %s ===\n%s\n\n", name, of.Environment[name])
			}
		case inspect.Labels:
			for _, name := range slices.Sorted(maps.Keys(of.Labels)) {
				w.printf("%s: %s\n", name, of.Labels[name])
			}
		}
	}
	return w.err
}

func (w *workshop) runHelpCommand() *cobra.Command {
	var app string
	cmd := &cobra.Command{
		Use: "run-help [--app NAME] IMAGE", Short: "show the help that an image brings along", Args: exactly(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			said, err := w.said(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if said, err = inspect.Only(said, app, inspect.Helpfile); err != nil {
				return noApp(err, app)
			}
			help := inspect.Of(said, app).Helpfile
			if help == "" {
				help = "No help sections were defined for this image"
			}
			out := newSafeWriter(cmd.OutOrStdout())
			out.printf("%s\n", help)
			return out.err
		},
	}
	cmd.Flags().StringVar(&app, "app", "", "the help of an app (SCIF)")
	return cmd
}

// safeWriter prints what strangers wrote: as it is, or, on a terminal, without what that
// would obey.
type safeWriter struct {
	w     io.Writer
	clean bool
	err   error
}

func newSafeWriter(out io.Writer) *safeWriter { return &safeWriter{w: out, clean: onTerminal(out)} }

// Write writes text whole.
func (s *safeWriter) Write(b []byte) (int, error) {
	s.printf("%s", b)
	return len(b), s.err
}

func (s *safeWriter) printf(format string, args ...any) {
	if s.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if s.clean {
		text = readable(text)
	}
	_, s.err = io.WriteString(s.w, text)
}
