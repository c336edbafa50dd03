package cri

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/siflet/siflet/runtime"
)

// mounts are a container's, in the client's order.
func mounts(list []*criapi.Mount) ([]runtime.Mount, error) {
	var out []runtime.Mount
	for i, m := range list {
		mount, err := mountOf(fmt.Sprintf("mounts[%d]", i), m)
		if err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	return out, nil
}

func mountOf(field string, m *criapi.Mount) (runtime.Mount, error) {
	none := runtime.Mount{}
	target := m.GetContainerPath()
	if target == "" || strings.ContainsRune(target, 0) {
		return none, invalid(field+".container_path", "%q is not a path", target)
	}
	out := runtime.Mount{Target: path.Join("/", target), Readonly: m.GetReadonly()}
	if len(m.GetUidMappings())+len(m.GetGidMappings()) > 0 {
		return none, unsupported(field+".uidMappings", "mounts with ids of their own need user namespaces, which siflet has not yet")
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
		}
		out.RecursiveRO = true
	}
	if err := mountOptions(field, m.GetMountOptions(), &out); err != nil {
		return none, err
	}
	if m.GetImage() != nil && m.GetImage().GetImage() != "" {
		return imageVolume(field, m, out)
	}
	if m.GetImageSubPath() != "" {
		return none, invalid(field+".image_sub_path", "is set without an image")
	}
	if out.Source = m.GetHostPath(); !cleanAbs(out.Source) {
		return none, invalid(field+".host_path", "%q is not an absolute path", out.Source)
	}
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

// imageVolume mounts an image; kubelet knows its errors by their text.
func imageVolume(field string, m *criapi.Mount, out runtime.Mount) (runtime.Mount, error) {
	sub := m.GetImageSubPath()
	switch {
	case m.GetHostPath() != "":
		return out, invalid(field+".host_path", "is set beside an image")
	case !m.GetReadonly():
		return out, invalid(field+".readonly", "an image can be mounted read-only alone")
	case sub != "" && !fs.ValidPath(path.Clean(sub)):
		return out, invalid(field+".image_sub_path", "%q leaves the image", sub)
	}
	out.Image, out.Source = m.GetImage().GetImage(), sub
	return out, nil
}

// volumeError marks an error that concerns an image mounted as a volume.
func volumeError(mounts []runtime.Mount, err error) error {
	if err == nil || !slices.ContainsFunc(mounts, func(m runtime.Mount) bool {
		return m.Image != "" && strings.Contains(err.Error(), m.Target)
	}) {
		return err
	}
	return status.Errorf(max(code(err), codes.Unknown), "%s: %v", crierrors.ErrImageVolumeMountFailed, err)
}

// criMounts are the mounts that list was made from.
func criMounts(list []runtime.Mount) []*criapi.Mount {
	out := make([]*criapi.Mount, 0, len(list))
	for i := range list {
		m := &list[i]
		c := &criapi.Mount{
			ContainerPath: m.Target, HostPath: m.Source, Readonly: m.Readonly, RecursiveReadOnly: m.RecursiveRO,
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
			c.Image = &criapi.ImageSpec{Image: m.Image}
			if strings.HasPrefix(m.Image, "sha256:") {
				c.Image.ImageRef = m.Image
			}
		}
		out = append(out, c)
	}
	return out
}
