package runtime

import (
	"slices"
	"time"
)

// Handler is how the instances of one kind run. It is recorded with each of them, so
// that it holds for their containers whatever becomes of the configuration. The zero
// value is siflet's own way.
type Handler struct {
	// Runtime is the path of an OCI runtime that runs the containers; empty is siflet's own.
	Runtime string `json:"runtime,omitempty"`
	// RuntimeArgs are the first on its command line.
	RuntimeArgs []string `json:"runtime_args,omitempty"`
	// RuntimeTimeout is how long it may take for a call; zero is a minute.
	RuntimeTimeout time.Duration `json:"runtime_timeout,omitempty"`
	// Annotations are patterns (see path.Match) of those that it sees, of pods and containers.
	Annotations []string `json:"annotations,omitempty"`
	// Seccomp is the profile of containers that want the default one; see Security.
	Seccomp string `json:"seccomp,omitempty"`
	// Capabilities are those of containers before they add and drop some; nil are the
	// usual ones.
	Capabilities []string `json:"capabilities,omitzero"`
	// Upper is what carries the writable layer of containers that have one.
	Upper UpperKind `json:"upper,omitempty"`
	// NoHostDevices keeps the node's devices from privileged containers.
	NoHostDevices bool `json:"no_host_devices,omitempty"`
	// Network is "", the node's way, "bridge", the built-in one, or "none".
	Network string `json:"network,omitempty"`
}

// Container makes a container's wishes those of a container of the handler.
func (h *Handler) Container(s *ContainerSpec) {
	if h == nil {
		return
	}
	if h.Seccomp != "" && (s.Security.Seccomp == "" || s.Security.Seccomp == "runtime/default") {
		s.Security.Seccomp = h.Seccomp
	}
	if s.Upper == UpperDisk {
		s.Upper = h.Upper
	}
	s.Security.NoHostDev = s.Security.NoHostDev || h.NoHostDevices
	isAll := func(name string) bool { return name == "ALL" || name == "CAP_ALL" || name == "all" }
	if h.Capabilities != nil && !s.Security.Privileged &&
		!slices.ContainsFunc(s.Security.DropCaps, isAll) && !slices.ContainsFunc(s.Security.AddCaps, isAll) {
		s.Security.AddCaps = slices.Concat(h.Capabilities, s.Security.AddCaps)
		s.Security.DropCaps = slices.Concat([]string{"ALL"}, s.Security.DropCaps)
	}
}

// Instance does the same for an instance, and notes the handler in it.
func (h *Handler) Instance(s *InstanceSpec) {
	if h == nil {
		return
	}
	s.Settings = h
	if s.Namespaces.Network == ModeHost {
		return
	}
	s.BuiltInNetwork = s.BuiltInNetwork || h.Network == "bridge"
	s.LoopbackOnly = s.LoopbackOnly || h.Network == "none"
}
