package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall" //nolint:depguard // the name of a signal; no system call

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/action"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/supervisor"
)

func (w *workshop) execCommand() *cobra.Command {
	return w.actionCommand("exec", "exec [flags] IMAGE|instance://NAME COMMAND [ARGS...]", "run a command in an image or an instance", 2)
}

func (w *workshop) runCommand() *cobra.Command {
	run := w.actionCommand("run", "run [flags] IMAGE|instance://NAME [ARGS...]", "run an image's runscript", 1)
	run.Long += "\n\nDocker and OCI images have no runscript: what runs is their ENTRYPOINT with their CMD,\nwhich ARGS replace."
	return run
}

func (w *workshop) shellCommand() *cobra.Command {
	return w.actionCommand("shell", "shell [flags] IMAGE|instance://NAME", "run an interactive shell in an image or an instance", 1)
}

func (w *workshop) testCommand() *cobra.Command {
	test := w.actionCommand("test", "test [flags] IMAGE|instance://NAME [ARGS...]", "run an image's test script", 1)
	test.Long += "\n\nThe exit status is the script's. An image without one is said so, and passes."
	return test
}

func (w *workshop) actionCommand(verb, use, short string, least int) *cobra.Command {
	const images = "\n\nIMAGE is a SIF file, a name in the node's store, or docker://, oras://, library://, https://,\n" +
		"docker-archive:, oci-archive: or oci: and what is there; what is not there yet is pulled first."
	var o actionOptions
	cmd := &cobra.Command{
		Use: use, Short: short, Long: strings.ToUpper(short[:1]) + short[1:] + "." + images,
		Args: atLeast(least, "too few arguments: siflet "+use),
		RunE: func(cmd *cobra.Command, args []string) error {
			joins := strings.HasPrefix(args[0], "instance://")
			if joins {
				if err := refuseIdle(cmd.Flags()); err != nil {
					return err
				}
			}
			if err := o.settle(cmd); err != nil {
				return err
			}
			if joins {
				warnIdle(w.stderr, cmd.Flags())
				return w.inInstance(cmd.Context(), &o, verb, args[0], args[1:])
			}
			return w.inImage(cmd.Context(), &o, verb, args[0], args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	o.register(cmd.Flags())
	o.registerPID(cmd.Flags())
	cmd.Flags().BoolVar(&o.noInstanceEnv, "no-instance-env", false, "in an instance: leave out the environment that it was started with")
	if verb == "shell" {
		cmd.Flags().StringVarP(&o.shell, "shell", "s", "", "the shell to run")
	}
	return cmd
}

// inInstance runs a further process in a running instance or pod.
func (w *workshop) inInstance(ctx context.Context, o *actionOptions, verb, name string, args []string) error {
	t, err := w.target(ctx, name)
	if err != nil {
		return fmt.Errorf("while setting image/instance: %w", err)
	}
	// Its namespaces are there as long as it is, and what is in memory of the image seems to work.
	if why := t.container.Reason; t.container.State == runtime.ContainerExited && strings.HasPrefix(why, supervisor.ImageLost) {
		return fmt.Errorf("instance %s has ended: %s; stop it and start it again", t.instance.Spec.Name, why)
	}
	spec := runtime.ExecSpec{Cwd: o.cwd, Terminal: interactive()}
	s := subject{image: t.container.Spec.ImageReference, instance: t.instance.Spec.Name}
	if spec.Action, err = o.instanceRequest(ctx, w.stderr, verb, args, s, t.container.Spec.Action); err != nil {
		return err
	}
	spec.NoContainerEnv = o.noInstanceEnv
	// What follows is for an image without Singularity's scripts.
	if spec.Env, err = o.plainEnv(ctx, verb, nil, s); err != nil {
		return err
	}
	switch verb {
	case action.Test:
		if img, err := w.imageOf(t.container.Spec.Image); err == nil && withoutScripts(img) {
			info(w.stderr, "%s", noTestScript)
			return nil
		}
	case "exec":
		spec.Args = args
	case "shell":
		spec.Args = append(o.plainShell(), args...)
	default:
		spec.Args = w.entryPoint(t, args)
	}
	return w.session(ctx, t, spec)
}

// entryPoint is what an image of OCI's making runs; nil leaves it to the
// runtime.
func (w *workshop) entryPoint(t target, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	img, err := w.imageOf(t.container.Spec.Image)
	if err != nil {
		return nil // it was taken away meanwhile; the runtime says so
	}
	return append(slices.Clip(img.Config.Entrypoint), args...)
}

// imageOf is the image of a container: a SIF file or a sandbox, or one of the caller's
// store or of the node's.
func (w *workshop) imageOf(ref string) (image.Image, error) {
	if filepath.IsAbs(ref) {
		if info, err := os.Stat(ref); err == nil && info.IsDir() {
			return image.Sandbox(ref)
		}
		return image.File(ref)
	}
	r, err := callerRoots()
	if err != nil {
		return image.Image{}, err
	}
	var found image.Image
	for _, dir := range []string{filepath.Join(r.state, "images"), w.imageDir()} {
		var store *image.Store
		if store, err = image.View(dir); err == nil {
			found, err = store.Lookup(ref)
		}
		if err == nil {
			return found, nil
		}
	}
	return found, err
}

// interactive says whether a person is at both ends.
func interactive() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

// session runs the process with the command's own stdio and ends as it does.
func (w *workshop) session(ctx context.Context, t target, spec runtime.ExecSpec) error {
	stdin, stdout, stderr := os.Stdin, os.Stdout, os.Stderr
	if spec.Terminal {
		stdin, stdout, stderr = nil, nil, nil
	}
	told, signals, stop := passAllSignals(ctx)
	defer stop()
	session, err := t.view.ExecFiles(told, t.container.ID, spec, stdin, stdout, stderr)
	if err != nil {
		return orSignal(told, err)
	}
	signals.start()
	defer session.Close() //nolint:errcheck // it has ended, or is to end
	done := make(chan struct{})
	defer close(done)
	if spec.Terminal {
		restore, err := connectTerminal(session.Terminal, done)
		if err != nil {
			return err
		}
		defer restore()
	}
	if process, err := os.FindProcess(session.PID); err == nil {
		go relay(signals.out, process, done)
	}
	exit, err := session.Wait(told)
	if errors.Is(err, supervisor.ErrGone) {
		return errors.New("the instance ended")
	}
	if err != nil {
		return orSignal(told, err)
	}
	if exit.Signal == int(syscall.SIGKILL) {
		if limit, yes := t.view.Starved(t.container.ID); yes {
			warn(w.stderr, "the command was killed: the memory limit of %d bytes that it runs under is too low", limit)
		}
	}
	return ended(exit)
}

// relay passes on the signals that siflet gets, until done.
func relay(signals <-chan os.Signal, to *os.Process, done <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			// A process that has just ended is no error.
			_ = to.Signal(s)
		case <-done:
			return
		}
	}
}
