package cri

import (
	"fmt"
	"math"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/program"
)

// userNamespace is the one that CRI's options ask for; nil is the node's.
func userNamespace(field string, u *criapi.UserNamespace) (*runtime.UserNamespace, error) {
	switch mode := u.GetMode(); mode {
	case criapi.NamespaceMode_POD:
		if u == nil {
			return nil, nil //nolint:nilnil // a client that knows of none
		}
	case criapi.NamespaceMode_NODE:
		for _, list := range []struct {
			name string
			n    int
		}{{"uids", len(u.GetUids())}, {"gids", len(u.GetGids())}} {
			if list.n > 0 {
				return nil, invalid(field+"."+list.name, "mode NODE takes no mappings")
			}
		}
		return nil, nil //nolint:nilnil // the node's
	case criapi.NamespaceMode_CONTAINER, criapi.NamespaceMode_TARGET:
		return nil, invalid(field+".mode", "mode %s is not possible here; POD or NODE is", mode)
	default:
		return nil, invalid(field+".mode", "unknown mode %d", mode)
	}
	var out runtime.UserNamespace
	for _, m := range []struct {
		name string
		list []*criapi.IDMapping
		into *program.IDMap
	}{{"uids", u.GetUids(), &out.UIDs}, {"gids", u.GetGids(), &out.GIDs}} {
		var err error
		if *m.into, err = idMapping(field+"."+m.name, m.list); err != nil {
			return nil, err
		}
		if m.into.Container != 0 {
			return nil, invalid(field+"."+m.name+"[0].container_id", "is %d; the container's id 0 must be mapped", m.into.Container)
		}
	}
	return &out, nil
}

// idMapping is the only mapping of a list.
func idMapping(field string, list []*criapi.IDMapping) (program.IDMap, error) {
	none := program.IDMap{}
	switch {
	case len(list) == 0:
		return none, invalid(field, "one mapping is needed, there is none")
	case len(list) > 1:
		return none, invalid(field, "one mapping is possible, there are %d", len(list))
	}
	m := list[0]
	field += "[0]"
	// The highest id means "no change" to the kernel.
	const highest = uint64(math.MaxUint32 - 1)
	for _, end := range []struct {
		name  string
		first uint32
	}{{"container_id", m.GetContainerId()}, {"host_id", m.GetHostId()}} {
		if last := uint64(end.first) + uint64(m.GetLength()) - 1; m.GetLength() > 0 && last > highest {
			return none, invalid(field+"."+end.name, "%d ids from %d on go beyond %d, the last there is", m.GetLength(), end.first, highest)
		}
	}
	switch {
	case m.GetLength() == 0:
		return none, invalid(field+".length", "is 0")
	case m.GetHostId() == 0:
		return none, invalid(field+".host_id", "is 0: the node's root is nobody's in a user namespace")
	}
	return program.IDMap{Container: m.GetContainerId(), Host: m.GetHostId(), Length: m.GetLength()}, nil
}

// checkOwned refuses what the kernel does: with a user namespace of its own a pod
// has no rights in the node's other namespaces, without which /proc or
// /dev/mqueue can't be mounted.
func checkOwned(field string, ns runtime.Namespaces) error {
	switch {
	case ns.User == nil:
		return nil
	case ns.PID == runtime.ModeHost:
		return invalid(field+".pid", "mode NODE is not possible with a user namespace of the pod's own")
	case ns.IPC == runtime.ModeHost:
		return invalid(field+".ipc", "mode NODE is not possible with a user namespace of the pod's own")
	}
	return nil
}

// sameUserNamespace refuses a container whose options differ from its pod's.
func sameUserNamespace(field string, u *criapi.UserNamespace, pod *runtime.UserNamespace) error {
	own, err := userNamespace(field, u)
	switch {
	case err != nil:
		return err
	case own == nil && pod == nil:
		return nil
	case pod == nil:
		return invalid(field+".mode", "mode POD, but the pod was made with NODE")
	case own == nil:
		return invalid(field+".mode", "mode NODE, but the pod was made with POD")
	case own.UIDs != pod.UIDs:
		return invalid(field+".uids", "%q, but the pod was made with %q", own.UIDs, pod.UIDs)
	case own.GIDs != pod.GIDs:
		return invalid(field+".gids", "%q, but the pod was made with %q", own.GIDs, pod.GIDs)
	}
	return nil
}

// usernsOptions are the options that u was made from.
func usernsOptions(u *runtime.UserNamespace) *criapi.UserNamespace {
	if u == nil {
		return &criapi.UserNamespace{Mode: criapi.NamespaceMode_NODE}
	}
	return &criapi.UserNamespace{
		Mode: criapi.NamespaceMode_POD, Uids: idMappings(&u.UIDs), Gids: idMappings(&u.GIDs),
	}
}

func idMappings(m *program.IDMap) []*criapi.IDMapping {
	if m == nil {
		return nil
	}
	return []*criapi.IDMapping{{ContainerId: m.Container, HostId: m.Host, Length: m.Length}}
}

// mountMappings are the ids of a mount.
func mountMappings(field string, m *criapi.Mount, out *runtime.Mount) error {
	if len(m.GetUidMappings())+len(m.GetGidMappings()) == 0 {
		return nil
	}
	uids, err := idMapping(field+".uidMappings", m.GetUidMappings())
	if err != nil {
		return err
	}
	gids, err := idMapping(field+".gidMappings", m.GetGidMappings())
	if err != nil {
		return err
	}
	out.UIDs, out.GIDs = &uids, &gids
	return nil
}

// mountsInside refuses mounts that a pod with a user namespace can't have.
func mountsInside(mounts []runtime.Mount, pod *runtime.UserNamespace) error {
	for i := range mounts {
		m, field := &mounts[i], fmt.Sprintf("mounts[%d]", i)
		switch {
		case pod != nil && m.Propagation == "shared":
			return invalid(field+".propagation", "mode BIDIRECTIONAL is not possible with a user namespace of the pod's own")
		case m.Image == "" || m.UIDs == nil:
		case pod == nil || *m.UIDs != pod.UIDs || *m.GIDs != pod.GIDs:
			return invalid(field+".uidMappings", "an image has the mappings of its pod, or none")
		}
	}
	return nil
}

// usersInside refuses ids that the pod's user namespace has not.
func usersInside(u *program.User, pod *runtime.UserNamespace) error {
	if pod == nil {
		return nil
	}
	check := func(field string, id uint32, m program.IDMap) error {
		if id-m.Container < m.Length {
			return nil
		}
		return invalid(securityField+"."+field, "%d is not mapped: the pod's user namespace has ids from %d to %d", id, m.Container, m.Container+m.Length-1)
	}
	if u.UID != nil {
		if err := check("run_as_user", *u.UID, pod.UIDs); err != nil {
			return err
		}
	}
	if u.GID != nil {
		if err := check("run_as_group", *u.GID, pod.GIDs); err != nil {
			return err
		}
	}
	for i, group := range u.Groups {
		if err := check(fmt.Sprintf("supplemental_groups[%d]", i), group, pod.GIDs); err != nil {
			return err
		}
	}
	return nil
}

// inside is the id that a user namespace shows for one of the node's.
func inside(m program.IDMap, id int64) int64 {
	const overflow = 65534 // what the kernel shows for ids that are not mapped
	if id < int64(m.Host) || id >= int64(m.Host)+int64(m.Length) {
		return overflow
	}
	return id - int64(m.Host) + int64(m.Container)
}

// insideUser shows the node's ids as a pod's user namespace does.
func insideUser(u *criapi.ContainerUser, pod *runtime.UserNamespace) {
	if pod == nil {
		return
	}
	l := u.GetLinux()
	l.Uid, l.Gid = inside(pod.UIDs, l.Uid), inside(pod.GIDs, l.Gid)
	for i, group := range l.SupplementalGroups {
		l.SupplementalGroups[i] = inside(pod.GIDs, group)
	}
}
