package main

import (
	"fmt"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/cdi"
)

func (o *actionOptions) registerDevices(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.devices, "device", nil, "a device by its name, vendor/class=name (CDI), or a node: /dev/X[:/dev/Y[:rwm]]")
	flags.StringSliceVar(&o.cdiDirs, "cdi-dirs", nil, "directories with the files that describe devices (default /etc/cdi, /var/run/cdi)")
	flags.BoolVar(&o.nv, "nv", false, "NVIDIA GPUs: by CDI where nvidia.com/gpu=all is described, else the host's driver files")
	flags.BoolVar(&o.rocm, "rocm", false, "AMD GPUs: the host's ROCm files")
}

// userDevices adds the devices that --device names.
func (o *actionOptions) userDevices(spec *runtime.ContainerSpec) error {
	for _, text := range o.devices {
		if cdi.IsName(text) {
			spec.CDI = append(spec.CDI, text)
			continue
		}
		if err := o.userDevice(spec, text); err != nil {
			return err
		}
	}
	return nil
}

func (o *actionOptions) userDevice(spec *runtime.ContainerSpec, text string) error {
	parts := strings.Split(text, ":")
	if len(parts) > 3 || !filepath.IsAbs(parts[0]) {
		return usageError{text: fmt.Sprintf("--device %q: want vendor/class=name or /dev/X[:/dev/Y[:rwm]]", text)}
	}
	target := parts[0]
	if len(parts) > 1 && parts[1] != "" {
		target = parts[1]
	}
	if !filepath.IsAbs(target) {
		return usageError{text: fmt.Sprintf("--device %q: %q must be an absolute path", text, target)}
	}
	target = filepath.Clean(target)
	found, err := runtime.Devices(parts[0], target)
	if err != nil {
		return err
	}
	switch host := !o.contain && !o.left("dev") && within(target, "/dev"); {
	case host && target != filepath.Clean(parts[0]):
		return usageError{text: fmt.Sprintf("--device %q: the container has the host's /dev, to which nothing can be added; use --contain", text)}
	case !host:
		spec.Devices = append(spec.Devices, found...)
	}
	if len(parts) > 2 {
		return limitDevices(spec, text, found, parts[2])
	}
	return nil
}

// limitDevices takes away what the permissions do not give, but for making the node.
func limitDevices(spec *runtime.ContainerSpec, text string, devices []specs.LinuxDevice, permissions string) error {
	if permissions == "" || strings.Trim(permissions, "rwm") != "" {
		return usageError{text: fmt.Sprintf("--device %q: %q is not made of r, w and m", text, permissions)}
	}
	missing := strings.Map(func(r rune) rune {
		if strings.ContainsRune(permissions, r) {
			return -1
		}
		return r
	}, "rw")
	if missing == "" {
		return nil
	}
	if spec.Resources == nil {
		spec.Resources = &specs.LinuxResources{}
	}
	r := spec.Resources
	if len(r.Devices) == 0 {
		r.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Type: "a", Access: "rwm"}}
	}
	for _, d := range devices {
		major, minor := d.Major, d.Minor
		r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: false, Type: d.Type, Major: &major, Minor: &minor, Access: missing})
	}
	return nil
}
