package cri

import (
	"fmt"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// containerSpec is the container that c asks for in a pod.
func (s *Server) containerSpec(c *criapi.ContainerConfig, pod *runtime.InstanceSpec) (runtime.ContainerSpec, error) {
	none := runtime.ContainerSpec{}
	if err := checkContainer(c); err != nil {
		return none, err
	}
	m := c.GetMetadata()
	spec := runtime.ContainerSpec{
		Name: m.GetName(),
		Metadata: runtime.Metadata{
			Name: m.GetName(), Attempt: m.GetAttempt(), Labels: c.GetLabels(), Annotations: c.GetAnnotations(),
		},
		Image: imageName(c.GetImage()), ImageReference: imageReference(c.GetImage()),
		Command: c.GetCommand(), Args: c.GetArgs(), Cwd: c.GetWorkingDir(),
		Stdin: c.GetStdin(), StdinOnce: c.GetStdin() && c.GetStdinOnce(), Terminal: c.GetTty(),
	}
	var err error
	if spec.Env, err = environment(c.GetEnvs()); err != nil {
		return none, err
	}
	if spec.Mounts, err = s.mounts(c.GetMounts()); err != nil {
		return none, err
	}
	if spec.LogPath, err = logPath(pod.LogDir, c.GetLogPath()); err != nil {
		return none, err
	}
	if spec.CDI, err = namedDevices(c); err != nil {
		return none, err
	}
	if spec.StopSignal, err = stopSignal(c.GetStopSignal()); err != nil {
		return none, err
	}
	return spec, s.linuxPart(c.GetLinux(), c.GetDevices(), pod, &spec)
}

func (s *Server) linuxPart(c *criapi.LinuxContainerConfig, list []*criapi.Device, pod *runtime.InstanceSpec, spec *runtime.ContainerSpec) error {
	var err error
	options := c.GetSecurityContext().GetNamespaceOptions()
	if spec.PID, spec.PIDTarget, err = containerPID(securityField+".namespace_options", options, pod.Namespaces); err != nil {
		return err
	}
	if spec.Security, err = s.security(c.GetSecurityContext(), pod); err != nil {
		return err
	}
	if spec.SELinux, err = s.selinux(securityField, c.GetSecurityContext().GetSelinuxOptions()); err != nil {
		return err
	}
	if spec.Resources, err = s.containerResources("linux.resources", c.GetResources(), nil); err != nil {
		return err
	}
	if err := s.devices(list, spec); err != nil {
		return err
	}
	if err := usersInside(&spec.Security.User, pod.Namespaces.User); err != nil {
		return err
	}
	if err := mountsInside(spec.Mounts, pod.Namespaces.User); err != nil {
		return err
	}
	if c.GetResources() != nil {
		spec.OOMScoreAdj = s.oomScore("linux.resources", c.GetResources().GetOomScoreAdj())
	}
	pod.Settings.Container(spec)
	return nil
}

func checkContainer(c *criapi.ContainerConfig) error {
	switch {
	case c == nil:
		return invalid("config", "is missing")
	case c.GetMetadata().GetName() == "":
		return invalid("metadata.name", "is missing")
	case c.GetImage().GetImage() == "":
		return invalid("image.image", "is missing")
	case c.GetWindows() != nil:
		return invalid("windows", "this node runs Linux")
	}
	if err := checkName("metadata.name", c.GetMetadata().GetName()); err != nil {
		return err
	}
	if dir := c.GetWorkingDir(); dir != "" && (!filepath.IsAbs(dir) || strings.ContainsRune(dir, 0)) {
		return invalid("working_dir", "%q is not an absolute path", dir)
	}
	if err := checkWords("command", c.GetCommand()); err != nil {
		return err
	}
	if err := checkWords("args", c.GetArgs()); err != nil {
		return err
	}
	return checkMaps(c.GetLabels(), c.GetAnnotations())
}

// imageReference is what a person calls the image.
func imageReference(i *criapi.ImageSpec) string {
	if i.GetUserSpecifiedImage() != "" {
		return i.GetUserSpecifiedImage()
	}
	return i.GetImage()
}

func environment(list []*criapi.KeyValue) ([]string, error) {
	var env []string
	size := 0
	for i, e := range list {
		field := fmt.Sprintf("envs[%d]", i)
		key, value := e.GetKey(), string(e.GetValue())
		if key == "" || strings.ContainsAny(key, "=\x00") {
			return nil, invalid(field+".key", "%q is not a variable's name", key)
		}
		if strings.ContainsRune(value, 0) {
			return nil, invalid(field+".value", "holds a NUL")
		}
		if size += len(key) + len(value); size > maxText {
			return nil, invalid("envs", "is longer than %d bytes", maxText)
		}
		env = append(env, key+"="+value)
	}
	return env, nil
}

// logPath is absolute; without both parts nothing is logged.
func logPath(dir, name string) (string, error) {
	if dir == "" || name == "" {
		return "", nil
	}
	if strings.ContainsRune(name, 0) || !filepath.IsLocal(strings.TrimLeft(name, "/")) {
		return "", invalid("log_path", "%q leaves the pod's log directory", name)
	}
	return filepath.Join(dir, name), nil
}

// devices are looked up on the node; permissions become rules of the cgroup.
func (s *Server) devices(list []*criapi.Device, spec *runtime.ContainerSpec) error {
	for i, d := range list {
		field := fmt.Sprintf("devices[%d]", i)
		if !cleanAbs(d.GetHostPath()) {
			return invalid(field+".host_path", "%q is not an absolute path", d.GetHostPath())
		}
		if d.GetContainerPath() != "" && !cleanAbs(d.GetContainerPath()) {
			return invalid(field+".container_path", "%q is not an absolute path", d.GetContainerPath())
		}
		if p := d.GetPermissions(); strings.Trim(p, "rwm") != "" || len(p) > 3 {
			return invalid(field+".permissions", "%q is not made of r, w and m", p)
		}
		found, err := s.node.Devices(d.GetHostPath(), d.GetContainerPath())
		if err != nil {
			return invalid(field+".host_path", "%v", err)
		}
		spec.Devices = append(spec.Devices, found...)
		if d.GetPermissions() == "" {
			continue
		}
		if spec.Resources == nil {
			spec.Resources = &specs.LinuxResources{}
		}
		for _, node := range found {
			major, minor := node.Major, node.Minor
			spec.Resources.Devices = append(spec.Resources.Devices, specs.LinuxDeviceCgroup{
				Allow: true, Type: node.Type, Major: &major, Minor: &minor, Access: d.GetPermissions(),
			})
		}
	}
	return nil
}
