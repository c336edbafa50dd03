package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

func (w *workshop) restartCommand() *cobra.Command {
	var timeout int
	cmd := &cobra.Command{
		Use: "restart [flags] NAME", Short: "stop an instance and start it as it was started",
		Args: exactly(1, "want the name of an instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.restart(cmd.Context(), args[0], time.Duration(timeout)*time.Second)
		},
	}
	w.registerUser(cmd)
	cmd.Flags().IntVarP(&timeout, "timeout", "t", stopSeconds, "seconds to wait before killing")
	return cmd
}

func (w *workshop) restart(ctx context.Context, name string, grace time.Duration) error {
	r, err := callerRoots()
	if err != nil {
		return err
	}
	o, err := w.startedWith(ctx, r, name)
	if err != nil {
		return err
	}
	way, err := o.way(w.stderr)
	if err != nil {
		return err
	}
	engine, err := w.open(ctx, r, func(c *runtime.Config) { c.CDIDirs, c.Unprivileged = o.cdiDirs, way })
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // it gives back locks only
	i, err := engine.InstanceByName(name)
	c := only(engine.Containers(), i.ID)
	if err != nil || c == nil || !thisBoot(i) {
		return missingError{text: "no instance found with name " + name}
	}
	if c.Forgot {
		return forgotten(r, i)
	}
	spec := c.Spec
	// Who listened there has left.
	spec.Mounts = slices.DeleteFunc(slices.Clone(spec.Mounts), func(m runtime.Mount) bool { return m.Target == notifyTarget })
	if err := engine.Usable(ctx, i.Spec, spec); err != nil {
		return fmt.Errorf("%w; the instance is as it was", err)
	}
	signal, err := runtime.ParseSignal(c.StopSignal)
	if err != nil {
		signal = signalTerminate
	}
	if err := w.stopOne(ctx, engine, i, signal, grace); err != nil {
		return err
	}
	before := fileSize(spec.ErrPath)
	if _, err := launch(ctx, engine, i.Spec, spec); err != nil {
		return fmt.Errorf("%w; the instance is stopped", startFailure(err, spec.ErrPath, before))
	}
	info(w.stderr, "instance started successfully")
	return nil
}

// forgotten says why what was in the run directory alone can't be had again, and how to
// start the instance anew.
func forgotten(r roots, i runtime.Instance) error {
	kept, name := attributes(i), i.Spec.Name
	anew := "siflet instance start"
	if len(kept.Start) > 0 {
		anew = "siflet " + strings.Join(quoted(kept.Start), " ")
	}
	if kept.Dir != "" {
		anew = "cd " + strings.Join(quoted([]string{kept.Dir}), "") + " && " + anew
	}
	return fmt.Errorf("the environment that %s was started with is not known any more: it was in %s alone, which something has emptied; "+
		"the instance is as it was; start it anew, with its --env if it had any: siflet instance stop %[1]s && %[3]s", name, r.run, anew)
}

// quoted are words as a shell takes them.
func quoted(words []string) []string {
	out := slices.Clone(words)
	for i, word := range out {
		if word == "" || strings.ContainsAny(word, " \t\n'\"\\$`*?[]{}()<>|&;~#!") {
			out[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return out
}

// startedWith are the flags that an instance was started with, if this machine's
// configuration still allows them and its image. One that there is not has none.
func (w *workshop) startedWith(ctx context.Context, r roots, name string) (*actionOptions, error) {
	var s starting
	reader, err := w.reader(ctx, r)
	if err != nil {
		return nil, err
	}
	i, err := reader.InstanceByName(name)
	if err != nil {
		return &s.o, nil //nolint:nilerr // there is nothing to start, as will be found
	}
	kept := attributes(i)
	cmd := &cobra.Command{}
	cmd.Flags().SetInterspersed(false)
	s.o.register(cmd.Flags())
	s.s.register(cmd.Flags())
	const verbs = 2 // instance start
	if len(kept.Start) > verbs {
		if err := cmd.ParseFlags(kept.Start[verbs:]); err != nil {
			return nil, fmt.Errorf("how %s was started is not understood: %w; start it anew: siflet instance start", name, err)
		}
	}
	o := &s.o
	o.fakeroot = kept.Fakeroot
	if o.tmp != "" && !filepath.IsAbs(o.tmp) {
		o.tmp = filepath.Join(kept.Dir, o.tmp)
	}
	for n, dir := range o.cdiDirs {
		if !filepath.IsAbs(dir) {
			o.cdiDirs[n] = filepath.Join(kept.Dir, dir)
		}
	}
	o.imply()
	if err := o.settleSite(cmd); err != nil {
		return nil, fmt.Errorf("%w; the instance is as it was", err)
	}
	c := only(reader.Containers(), i.ID)
	if c == nil {
		return o, nil
	}
	img, err := w.imageOf(c.Spec.Image)
	if err != nil {
		return nil, fmt.Errorf("%w; the instance is as it was", err)
	}
	if err := o.allowImage(&img); err != nil {
		return nil, fmt.Errorf("%w; the instance is as it was", err)
	}
	return o, nil
}
