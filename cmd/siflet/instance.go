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
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

// instanceAttributes is what the command line keeps with an instance.
type instanceAttributes struct {
	Image  string `json:"image"`
	LogOut string `json:"log_out"`
	LogErr string `json:"log_err"`
	Log    string `json:"log,omitempty"` // both, with times
	// Start is the command line, from "instance" on, without values of --env.
	Start []string `json:"start,omitempty"`
	// Env says that there were some.
	Env bool `json:"env,omitempty"`
	// Dir is where it was given: its paths may be relative.
	Dir string `json:"dir,omitempty"`
	// Fakeroot says that root is who started it.
	Fakeroot bool `json:"fakeroot,omitempty"`
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
		w.listCommand(), w.stopCommand(), w.restartCommand(), w.statsCommand(), w.logsCommand(), w.portsCommand(), w.inspectInstanceCommand(),
	)
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
		case i.State == runtime.InstanceReady, i.Mute:
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
		return instance, container, fmt.Errorf("make the log directory: %w", err)
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
