package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
)

// instanceAttributes is what the command line keeps with an instance.
type instanceAttributes struct {
	Image  string `json:"image"`
	LogOut string `json:"log_out"`
	LogErr string `json:"log_err"`
	Log    string `json:"log,omitempty"` // both, with times
}

func attributes(i runtime.Instance) instanceAttributes {
	var a instanceAttributes
	// An instance of another origin has none.
	_ = json.Unmarshal(i.Spec.Attributes, &a)
	return a
}

func (w *workshop) instanceCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "instance", Short: "run services in the background"},
		w.startCommand("start", "start an instance and the image's startscript in it"),
		w.startCommand("run", "start an instance and the image's runscript in it"),
		w.listCommand(), w.stopCommand(), w.statsCommand(), w.logsCommand(),
	)
}

func (w *workshop) startCommand(verb, short string) *cobra.Command {
	var o actionOptions
	var s serviceOptions
	cmd := &cobra.Command{
		Use: verb + " [flags] IMAGE NAME [ARGS...]", Short: short,
		Long: strings.ToUpper(short[:1]) + short[1:] + ".\n\nDocker and OCI images have no scripts: what runs is their ENTRYPOINT with their CMD, which\n" +
			"ARGS replace. Their VOLUMEs are left alone: what can be written is what the flags say.",
		Args: atLeast(2, "want an image and a name: siflet instance "+verb+" IMAGE NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.settle(cmd); err != nil {
				return err
			}
			return w.startInstance(cmd.Context(), &o, &s, verb, args[0], args[1], args[2:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	o.register(cmd.Flags())
	s.register(cmd.Flags())
	cmd.Flags().StringVar(&o.pidFile, "pid-file", "", "write the PID of the instance's first process to this file")
	return cmd
}

func (w *workshop) startInstance(ctx context.Context, o *actionOptions, s *serviceOptions, verb, ref, name string, args []string) error {
	if !validInstanceName(name) {
		return fmt.Errorf("while checking instance name: %s is not a valid instance name; use letters, digits, '.', '_' and '-', 128 of them at most", name)
	}
	if err := needRoot(); err != nil {
		return err
	}
	img, err := w.findImage(ctx, ref)
	if err != nil {
		return err
	}
	r, err := callerRoots()
	if err != nil {
		return err
	}
	instance, container, err := o.instance(ctx, w.stderr, verb, img, name, args, r)
	if err != nil {
		return err
	}
	container.StopSignal = s.stopSignal
	if container.Service, err = s.service(ctx, o, img, subject{image: imageName(img), instance: name}); err != nil {
		return err
	}
	kept := instanceAttributes{Image: listedName(img, ref), LogOut: container.OutPath, LogErr: container.ErrPath, Log: container.LogPath}
	if instance.Attributes, err = json.Marshal(kept); err != nil {
		return err
	}
	engine, err := w.open(ctx, r, o.cdiDirs...)
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // it gives back locks only
	if err := clearDead(ctx, engine, name); err != nil {
		return err
	}
	before := fileSize(container.ErrPath)
	running, err := launch(ctx, engine, instance, container)
	if err != nil {
		return startFailure(err, container.ErrPath, before)
	}
	if o.pidFile != "" {
		text := []byte(strconv.Itoa(running.InitPID) + "\n")
		if err := linux.Overwrite(o.pidFile, text, 0o644); err != nil {
			warn(w.stderr, "pid file %s: %v", o.pidFile, unwrapPath(err))
		}
	}
	info(w.stderr, "instance started successfully")
	return nil
}

// clearDead removes what has ended of that name; what lives is in the way. Of others
// that have ended the records stay, unless the machine was started anew, and nothing
// else: no address, no port.
func clearDead(ctx context.Context, engine *runtime.Engine, name string) error {
	containers := engine.Containers()
	for _, i := range engine.Instances() {
		up := statusOf(i, only(containers, i.ID)).up()
		switch {
		case i.Spec.Name == name && up:
			return fmt.Errorf("instance %s already exists; stop it first: siflet instance stop %s", name, name)
		case i.Spec.Name == name:
			if err := engine.RemoveInstance(ctx, i.ID); err != nil {
				return fmt.Errorf("remove the ended instance %s: %w", name, err)
			}
		case i.State == runtime.InstanceReady:
		case !thisBoot(i):
			_ = engine.RemoveInstance(ctx, i.ID) // the next one tries again
		default:
			_ = engine.StopInstance(ctx, i.ID) // likewise
		}
	}
	return nil
}

// instance makes the specifications of an instance and its one container.
func (o *actionOptions) instance(ctx context.Context, warnings io.Writer, verb string, img image.Image, name string, args []string, r roots) (
	instance runtime.InstanceSpec, container runtime.ContainerSpec, err error,
) {
	p, err := here()
	if err != nil {
		return instance, container, err
	}
	if container, err = o.container(imageName(img), p, true); err != nil {
		return instance, container, err
	}
	if err := o.write(&container, &img); err != nil {
		return instance, container, err
	}
	o.gpus(ctx, warnings, &container)
	container.Image = img.ID
	if img.InPlace {
		container.Image = img.References[0]
	}
	container.PID = runtime.ModeInstance
	what := subject{image: imageName(img), instance: name}
	if container.Action, err = o.encodedRequest(ctx, warnings, verb, args, what); err != nil {
		return instance, container, err
	}
	if err := o.plainProcess(ctx, &container, verb, args, img, what); err != nil {
		return instance, container, err
	}
	if err := os.MkdirAll(r.logs, 0o700); err != nil {
		return instance, container, fmt.Errorf("make the log directory: %w; set SIFLET_CONFIGDIR to a directory that can be written", err)
	}
	container.OutPath = filepath.Join(r.logs, name+".out")
	container.ErrPath = filepath.Join(r.logs, name+".err")
	container.LogPath = logPath(r, name)
	instance = runtime.InstanceSpec{
		Name: name, Hostname: o.hostname, EndWithInit: true, BuiltInNetwork: true, LoopbackOnly: o.network == "none",
		Namespaces: runtime.Namespaces{Network: own(o.net), IPC: own(o.ipc), UTS: own(o.uts)},
	}
	instance.Ports, err = o.ports()
	return instance, container, err
}

// launch brings the instance and its container up, or leaves nothing.
func launch(ctx context.Context, engine *runtime.Engine, i runtime.InstanceSpec, c runtime.ContainerSpec) (runtime.Instance, error) {
	running, err := engine.RunInstance(ctx, i)
	if err != nil {
		return runtime.Instance{}, err
	}
	container, err := engine.CreateContainer(ctx, running.ID, c)
	if err == nil {
		err = engine.StartContainer(ctx, container.ID)
	}
	if err != nil {
		clean := context.WithoutCancel(ctx)
		return runtime.Instance{}, errors.Join(err, engine.RemoveInstance(clean, running.ID))
	}
	return running, nil
}

// logPath is the log of an instance with both of its outputs and their times.
func logPath(r roots, name string) string { return filepath.Join(r.logs, name+".log") }

func validInstanceName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 128 &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// matching returns the instances whose names match a glob, sorted: the live ones
// and those that have ended since the machine was started.
func matching(instances []runtime.Instance, glob string) ([]runtime.Instance, error) {
	if _, err := filepath.Match(glob, ""); err != nil {
		return nil, usageError{text: fmt.Sprintf("%q is not a pattern: %v", glob, err)}
	}
	var found []runtime.Instance
	for _, i := range instances {
		if matched, _ := filepath.Match(glob, i.Spec.Name); matched && (i.State == runtime.InstanceReady || !i.Spec.Pod && thisBoot(i)) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b runtime.Instance) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return found, nil
}

func firstAddress(addresses []netip.Addr) string {
	for _, address := range addresses {
		if address.Is4() {
			return address.String()
		}
	}
	if len(addresses) > 0 {
		return addresses[0].String()
	}
	return ""
}
