package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/siflet/siflet/runtime"
)

// mounts are a container's, in the client's order.
func (s *Server) mounts(list []*criapi.Mount) ([]runtime.Mount, error) {
	var out []runtime.Mount
	for i, m := range list {
		mount, err := s.mountOf(fmt.Sprintf("mounts[%d]", i), m)
		if err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	return out, nil
}

func (s *Server) mountOf(field string, m *criapi.Mount) (runtime.Mount, error) {
	none := runtime.Mount{}
	target := m.GetContainerPath()
	if target == "" || strings.ContainsRune(target, 0) {
		return none, invalid(field+".container_path", "%q is not a path", target)
	}
	if !path.IsAbs(target) {
		target = path.Join("/", target)
	}
	if path.Clean(target) == "/" {
		return none, invalid(field+".container_path", "%q is the root", m.GetContainerPath())
	}
	out := runtime.Mount{Target: target, Readonly: m.GetReadonly(), Relabel: m.GetSelinuxRelabel()}
	if err := mountMappings(field, m, &out); err != nil {
		return none, err
	}
	switch p := m.GetPropagation(); p {
	case criapi.MountPropagation_PROPAGATION_PRIVATE:
		out.Propagation = "private"
	case criapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		out.Propagation = "slave"
	case criapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		out.Propagation = "shared"
	default:
		return none, invalid(field+".propagation", "unknown mode %d", p)
	}
	if m.GetRecursiveReadOnly() {
		switch {
		case !m.GetReadonly():
			return none, invalid(field+".recursive_read_only", "is set, but readonly is not")
		case out.Propagation != "private":
			return none, invalid(field+".recursive_read_only", "is set, but propagation is not PRIVATE")
		case !s.node.RecursiveReadOnly:
			return none, status.Errorf(codes.FailedPrecondition, "%s: %s.recursive_read_only: this kernel has no mount_setattr(2), it is older than 5.12", crierrors.ErrRROUnsupported, field)
		}
		out.RecursiveRO = true
	}
	if err := mountOptions(field, m.GetMountOptions(), &out); err != nil {
		return none, err
	}
	if m.GetImage() != nil {
		return s.imageVolume(field, m, out)
	}
	// Of a volume that is not an image the sub path says nothing: a kubelet sets it for all that have
	// one, and their host path has it already.
	if out.Source = m.GetHostPath(); !cleanAbs(out.Source) {
		return none, invalid(field+".host_path", "%q is not an absolute path", out.Source)
	}
	out.Create = true
	return out, nil
}

func mountOptions(field string, options []string, out *runtime.Mount) error {
	for i, o := range options {
		switch o {
		case "noexec":
			out.NoExec = true
		case "nosuid":
			out.NoSuid = true
		case "nodev":
			out.NoDev = true
		default:
			return unsupported(fmt.Sprintf("%s.mount_options[%d]", field, i), "%q; noexec, nosuid and nodev are", o)
		}
	}
	return nil
}

// imageVolume mounts an image.
func (s *Server) imageVolume(field string, m *criapi.Mount, out runtime.Mount) (runtime.Mount, error) {
	sub, ref := m.GetImageSubPath(), imageName(m.GetImage())
	wrong := func(name, format string, args ...any) (runtime.Mount, error) {
		return runtime.Mount{}, volumeError(invalid(field+"."+name, format, args...))
	}
	switch {
	case m.GetHostPath() != "":
		return wrong("host_path", "is set beside an image")
	case ref == "":
		return wrong("image.image", "is missing")
	case sub != "" && (!fs.ValidPath(path.Clean(sub)) || strings.ContainsRune(sub, 0)):
		return wrong("image_sub_path", "%q leaves the image", sub)
	}
	if err := s.checkHandler(field+".image.runtime_handler", m.GetImage().GetRuntimeHandler()); err != nil {
		return out, volumeError(err)
	}
	if !m.GetReadonly() { // as containerd: nobody shall think that it can be written
		return wrong("readonly", "is not set, and an image can be mounted read-only alone: set it")
	}
	// Nothing is mounted below it that could come or go.
	out.Image, out.Source, out.Propagation = ref, sub, "private"
	return out, nil
}

// volumeError gives an error about an image that is mounted as a volume the word that
// the kubelet knows it by.
func volumeError(err error) error {
	return status.Errorf(max(code(err), status.Code(err), codes.Unknown), "%s: %s", crierrors.ErrImageVolumeMountFailed, status.Convert(err).Message())
}

// mountError is volumeError for the engine's errors that are about one.
func mountError(err error) error {
	if errors.Is(err, runtime.ErrVolume) {
		return volumeError(err)
	}
	return err
}

// criMounts are the mounts that a container was made with, as they were asked for.
func criMounts(of *runtime.Container) []*criapi.Mount {
	list := of.Spec.Mounts
	out := make([]*criapi.Mount, 0, len(list))
	for i := range list {
		m := &list[i]
		c := &criapi.Mount{
			ContainerPath: m.Target, HostPath: m.Source, Readonly: m.Readonly, RecursiveReadOnly: m.RecursiveRO,
			UidMappings: idMappings(m.UIDs), GidMappings: idMappings(m.GIDs),
			SelinuxRelabel: m.Relabel,
		}
		switch m.Propagation {
		case "slave":
			c.Propagation = criapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case "shared":
			c.Propagation = criapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		}
		for _, o := range []struct {
			set  bool
			name string
		}{{m.NoExec, "noexec"}, {m.NoSuid, "nosuid"}, {m.NoDev, "nodev"}} {
			if o.set {
				c.MountOptions = append(c.MountOptions, o.name)
			}
		}
		if m.Image != "" {
			c.HostPath, c.ImageSubPath = "", m.Source
			c.Image = &criapi.ImageSpec{Image: m.Image, ImageRef: of.Volumes[m.Image]}
		}
		out = append(out, c)
	}
	return out
}
