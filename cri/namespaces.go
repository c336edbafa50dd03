package cri

import (
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// podNamespaces are an instance's namespaces for CRI's options.
func podNamespaces(field string, o *criapi.NamespaceOption) (runtime.Namespaces, error) {
	var ns runtime.Namespaces
	var err error
	if ns.User, err = userNamespace(field+".userns_options", o.GetUsernsOptions()); err != nil {
		return ns, err
	}
	if o.GetTargetId() != "" {
		return ns, invalid(field+".target_id", "a pod has no target")
	}
	for _, n := range []struct {
		name string
		mode criapi.NamespaceMode
		into *runtime.Mode
	}{{"network", o.GetNetwork(), &ns.Network}, {"ipc", o.GetIpc(), &ns.IPC}} {
		mode, err := sharedMode(field+"."+n.name, n.mode)
		if err != nil {
			return ns, err
		}
		*n.into = mode
	}
	switch pid := o.GetPid(); pid {
	case criapi.NamespaceMode_POD:
		ns.PID = runtime.ModeInstance
	case criapi.NamespaceMode_CONTAINER:
		ns.PID = runtime.ModeContainer
	case criapi.NamespaceMode_NODE:
		ns.PID = runtime.ModeHost
	case criapi.NamespaceMode_TARGET:
		return ns, invalid(field+".pid", "a pod can't have a target")
	default:
		return ns, invalid(field+".pid", "unknown mode %d", pid)
	}
	// A pod on the node's network has the node's name too, as everywhere.
	ns.UTS = ns.Network
	return ns, checkOwned(field, ns)
}

func sharedMode(field string, m criapi.NamespaceMode) (runtime.Mode, error) {
	switch m {
	case criapi.NamespaceMode_POD:
		return runtime.ModeInstance, nil
	case criapi.NamespaceMode_NODE:
		return runtime.ModeHost, nil
	case criapi.NamespaceMode_CONTAINER, criapi.NamespaceMode_TARGET:
		return "", invalid(field, "mode %s is not possible here; POD or NODE is", m)
	default:
		return "", invalid(field, "unknown mode %d", m)
	}
}

// containerPID is a container's PID mode. The other namespaces are the pod's:
// options that contradict it are refused.
func containerPID(field string, o *criapi.NamespaceOption, pod runtime.Namespaces) (runtime.Mode, string, error) {
	if o == nil {
		return podPID(pod), "", nil
	}
	if err := sameUserNamespace(field+".userns_options", o.GetUsernsOptions(), pod.User); err != nil {
		return "", "", err
	}
	for _, n := range []struct {
		name string
		mode criapi.NamespaceMode
		pod  runtime.Mode
	}{{"network", o.GetNetwork(), pod.Network}, {"ipc", o.GetIpc(), pod.IPC}} {
		mode, err := sharedMode(field+"."+n.name, n.mode)
		if err != nil {
			return "", "", err
		}
		if mode == runtime.ModeHost && n.pod != runtime.ModeHost {
			return "", "", invalid(field+"."+n.name, "mode NODE, but the pod's is POD")
		}
	}
	if o.GetPid() != criapi.NamespaceMode_TARGET && o.GetTargetId() != "" {
		return "", "", invalid(field+".target_id", "set, but the mode of pid is %s", o.GetPid())
	}
	switch pid := o.GetPid(); pid {
	case criapi.NamespaceMode_POD:
		return podPID(pod), "", nil
	case criapi.NamespaceMode_CONTAINER:
		return runtime.ModeContainer, "", nil
	case criapi.NamespaceMode_NODE:
		return runtime.ModeHost, "", checkOwned(field, runtime.Namespaces{PID: runtime.ModeHost, User: pod.User})
	case criapi.NamespaceMode_TARGET:
		if o.GetTargetId() == "" {
			return "", "", invalid(field+".target_id", "mode TARGET needs a container")
		}
		return runtime.ModeTarget, o.GetTargetId(), nil
	default:
		return "", "", invalid(field+".pid", "unknown mode %d", pid)
	}
}

// podPID is mode POD for a container: the namespace that the pod's containers
// share. In a pod made with CONTAINER those that ask for it share one too.
func podPID(pod runtime.Namespaces) runtime.Mode {
	if pod.PID == runtime.ModeContainer {
		return runtime.ModeShared
	}
	return pod.PID
}

// namespaceOptions are the options that ns was made from.
func namespaceOptions(ns runtime.Namespaces) *criapi.NamespaceOption {
	mode := func(m runtime.Mode) criapi.NamespaceMode {
		switch m {
		case runtime.ModeHost:
			return criapi.NamespaceMode_NODE
		case runtime.ModeContainer:
			return criapi.NamespaceMode_CONTAINER
		case runtime.ModeTarget:
			return criapi.NamespaceMode_TARGET
		default:
			return criapi.NamespaceMode_POD
		}
	}
	return &criapi.NamespaceOption{
		Network: mode(ns.Network), Pid: mode(ns.PID), Ipc: mode(ns.IPC), UsernsOptions: usernsOptions(ns.User),
	}
}
