package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
)

// instanceAttributes is what the command line keeps with an instance.
type instanceAttributes struct {
	Image  string `json:"image"`
	LogOut string `json:"log_out"`
	LogErr string `json:"log_err"`
}

func attributes(i runtime.Instance) instanceAttributes {
	var a instanceAttributes
	// An instance of another origin has none.
	_ = json.Unmarshal(i.Spec.Attributes, &a)
	return a
}

func (w *workshop) instanceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "instance", Short: "run services in the background", Args: cobra.NoArgs}
	cmd.AddCommand(
		w.startCommand("start", "start an instance and the image's startscript in it"),
		w.startCommand("run", "start an instance and the image's runscript in it"),
		w.listCommand(), w.stopCommand(), w.statsCommand(), w.logsCommand(),
	)
	return cmd
}

func (w *workshop) startCommand(verb, short string) *cobra.Command {
	var o actionOptions
	cmd := &cobra.Command{
		Use: verb + " [flags] IMAGE NAME [ARGS...]", Short: short,
		Args: atLeast(2, "want an image and a name: siflet instance "+verb+" IMAGE NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.settle(cmd); err != nil {
				return err
			}
			return w.startInstance(cmd.Context(), &o, verb, args[0], args[1], args[2:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&o.pidFile, "pid-file", "", "write the PID of the instance's first process to this file")
	return cmd
}

func (w *workshop) startInstance(ctx context.Context, o *actionOptions, verb, imagePath, name string, args []string) error {
	if !validInstanceName(name) {
		return fmt.Errorf("while checking instance name: %s is not a valid instance name; use letters, digits, '.', '_' and '-'", name)
	}
	if err := needRoot(); err != nil {
		return err
	}
	r, err := callerRoots()
	if err != nil {
		return err
	}
	engine, err := w.open(ctx, r)
	if err != nil {
		return err
	}
	defer engine.Close()
	if err := clearDead(ctx, engine, name); err != nil {
		return err
	}
	path, err := imageFile(imagePath)
	if err != nil {
		return err
	}
	instance, container, err := o.instance(ctx, verb, path, name, args, r)
	if err != nil {
		return err
	}
	running, err := launch(ctx, engine, instance, container)
	if err != nil {
		return err
	}
	if o.pidFile != "" {
		text := []byte(strconv.Itoa(running.InitPID) + "\n")
		if err := os.WriteFile(o.pidFile, text, 0o644); err != nil {
			warn(w.stderr, "pid file %s: %v", o.pidFile, unwrapPath(err))
		}
	}
	info(w.stderr, "instance started successfully")
	return nil
}

// clearDead removes an instance of that name that has ended; a live one is in
// the way.
func clearDead(ctx context.Context, engine *runtime.Engine, name string) error {
	for _, i := range engine.Instances() {
		if i.Spec.Name != name {
			continue
		}
		if i.State == runtime.InstanceReady {
			return fmt.Errorf("instance %s already exists; stop it first: siflet instance stop %s", name, name)
		}
		if err := engine.RemoveInstance(ctx, i.ID); err != nil {
			return fmt.Errorf("remove the ended instance %s: %w", name, err)
		}
	}
	return nil
}

// instance makes the specifications of an instance and its one container.
func (o *actionOptions) instance(ctx context.Context, verb, path, name string, args []string, r roots) (runtime.InstanceSpec, runtime.ContainerSpec, error) {
	p, err := here()
	if err != nil {
		return runtime.InstanceSpec{}, runtime.ContainerSpec{}, err
	}
	container, err := o.container(path, p, true)
	if err != nil {
		return runtime.InstanceSpec{}, runtime.ContainerSpec{}, err
	}
	container.PID = runtime.ModeInstance
	if container.Action, err = o.encodedRequest(ctx, verb, args, subject{image: path, instance: name}); err != nil {
		return runtime.InstanceSpec{}, runtime.ContainerSpec{}, err
	}
	if err := os.MkdirAll(r.logs, 0o700); err != nil {
		return runtime.InstanceSpec{}, runtime.ContainerSpec{}, fmt.Errorf("make the log directory: %w", err)
	}
	container.OutPath = filepath.Join(r.logs, name+".out")
	container.ErrPath = filepath.Join(r.logs, name+".err")
	instance := runtime.InstanceSpec{
		Name: name, Hostname: o.hostname, EndWithInit: true, BuiltInNetwork: true,
		Namespaces: runtime.Namespaces{Network: own(o.net), IPC: own(o.ipc), UTS: own(o.uts)},
	}
	if instance.Attributes, err = json.Marshal(instanceAttributes{Image: path, LogOut: container.OutPath, LogErr: container.ErrPath}); err != nil {
		return instance, container, err
	}
	instance.Ports, err = o.ports()
	return instance, container, err
}

func own(namespace bool) runtime.Mode {
	if namespace {
		return runtime.ModeInstance
	}
	return runtime.ModeHost
}

func (o *actionOptions) ports() ([]network.Port, error) {
	pairs, err := o.portmaps()
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	if !o.net {
		return nil, usageError{text: "--network-args portmap=... needs --net"}
	}
	var ports []network.Port
	for _, pair := range pairs {
		host, _ := strconv.ParseUint(pair[0], 10, 16)
		inside, _ := strconv.ParseUint(pair[1], 10, 16)
		ports = append(ports, network.Port{Host: uint16(host), Container: uint16(inside), Protocol: pair[2]})
	}
	return ports, nil
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

func validInstanceName(name string) bool {
	return regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name) && name != "." && name != ".." && len(name) <= 128
}

// imageFile is the absolute path of an image named on the command line.
func imageFile(path string) (string, error) {
	path = strings.TrimPrefix(path, "sif://")
	if scheme, _, found := strings.Cut(path, "://"); found && scheme != "" {
		return "", fmt.Errorf("image %s: images in registries can't be used yet; give the path of a SIF file", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", path, err)
	}
	if _, err := os.Stat(abs); err != nil {
		return "", fmt.Errorf("image %s: %w", path, unwrapPath(err))
	}
	return abs, nil
}

// matching returns the live instances whose names match a glob, sorted.
func matching(instances []runtime.Instance, glob string) ([]runtime.Instance, error) {
	if _, err := filepath.Match(glob, ""); err != nil {
		return nil, usageError{text: fmt.Sprintf("%q is not a pattern: %v", glob, err)}
	}
	var found []runtime.Instance
	for _, i := range instances {
		if matched, _ := filepath.Match(glob, i.Spec.Name); matched && i.State == runtime.InstanceReady {
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

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("running without root is not supported yet; run siflet as root: sudo siflet ...")
	}
	return nil
}

// atLeast wants n arguments or says what is missing.
func atLeast(n int, text string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{text: text}
		}
		return nil
	}
}

// unwrapPath drops the path that an os error repeats.
func unwrapPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
