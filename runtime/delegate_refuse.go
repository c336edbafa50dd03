package runtime

import "os"

// Missing says that the handler's runtime is not there, or no program: its containers
// can't be created.
func (h *Handler) Missing() error {
	if !h.delegates() {
		return nil
	}
	if info, err := os.Stat(h.Runtime); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return errorf(ErrNotReady, "the handler's runtime %s is not there, or no program", h.Runtime)
	}
	return nil
}

// refuseDelegated names what a delegated runtime can't do.
func refuseDelegated(spec *ContainerSpec, inst *InstanceSpec, h *Handler) error {
	if err := h.Missing(); err != nil {
		return err
	}
	why := func(what string) error {
		return errorf(ErrInvalid, "%s: not with the handler's runtime %s, only with siflet's own", what, h.Runtime)
	}
	switch {
	case inst.Namespaces.User != nil:
		return why("a user namespace")
	case spec.Action != nil:
		return why("an action of the caller's")
	case len(spec.Files) > 0 || spec.Accounts != nil || spec.NoDefaultMounts:
		return why("files and accounts of the caller's")
	case spec.Security.HostDev:
		return why("the node's own /dev")
	}
	for _, m := range spec.Mounts {
		switch {
		case m.Optional:
			return why("an optional mount at " + m.Target)
		case m.UIDs != nil || m.GIDs != nil:
			return why("mapped ids of the mount at " + m.Target)
		}
	}
	return nil
}
