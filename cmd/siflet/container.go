package main

import (
	"os"
	"os/user"

	"github.com/siflet/siflet/runtime"
)

// place is where the command was called: what the default mounts follow.
type place struct {
	home string // of the user
	cwd  string
	user *user.User
}

func here() (place, error) {
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "/"
	}
	who, err := caller()
	if err != nil {
		return place{}, err
	}
	return place{home: who.HomeDir, cwd: cwd, user: who}, nil
}

// homeTarget is the home directory as the container sees it.
func (o *actionOptions) homeTarget() string {
	if o.home != "" {
		parts := splitEscaped(o.home, ':')
		return parts[len(parts)-1]
	}
	if who, err := caller(); err == nil {
		return o.feigned(who).HomeDir
	}
	return "/"
}

// container turns the flags into a container, but for what it runs.
func (o *actionOptions) container(image string, p place, ownPID bool) (runtime.ContainerSpec, error) {
	spec := runtime.ContainerSpec{
		Name: "main", Image: image, ImageReference: image, NoDefaultMounts: true, Upper: runtime.UpperNone, PID: runtime.ModeHost,
	}
	var err error
	if spec.Security, err = o.privileges(); err != nil {
		return spec, err
	}
	if err := o.layers(&spec); err != nil {
		return spec, err
	}
	if spec.Resources, err = o.resources(); err != nil {
		return spec, err
	}
	if o.noUmask {
		umask := uint32(0o022)
		spec.Umask = &umask
	}
	o.workingDirectory(&spec, p)
	if err := o.defaultMounts(&spec, p, ownPID); err != nil {
		return spec, err
	}
	o.configFiles(&spec, p)
	if err := o.userDevices(&spec); err != nil {
		return spec, err
	}
	return spec, o.userMounts(&spec)
}

// layers says what carries the changes to the root.
func (o *actionOptions) layers(spec *runtime.ContainerSpec) error {
	if o.writableTmpfs {
		spec.Upper = runtime.UpperTmpfs
	}
	if err := o.addOverlays(spec); err != nil {
		return err
	}
	if spec.Upper == runtime.UpperNone {
		spec.Security.ReadonlyRoot = true
	}
	return nil
}

func (o *actionOptions) workingDirectory(spec *runtime.ContainerSpec, p place) {
	home := o.homeTarget()
	switch {
	case o.cwd != "":
		// A fallback keeps the runtime from making a directory that is missing.
		spec.Cwd, spec.CwdFallback = o.cwd, []string{o.cwd}
		return
	case o.contain:
		spec.Cwd = home
	default:
		spec.Cwd = p.cwd
	}
	spec.CwdFallback = []string{home, "/"}
}
