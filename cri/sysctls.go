package cri

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// sysctls are the settings asked for, and those that every pod gets, by their
// paths below /proc/sys. Only what a namespace of the pod's own keeps may be set.
func (s *Server) sysctls(field string, asked map[string]string, ns runtime.Namespaces, user *criapi.UserNamespace) (map[string]string, error) {
	out := map[string]string{}
	if ns.Network != runtime.ModeHost {
		// As containerd: any user may listen on any port of a pod, and ping.
		if !s.node.RestrictPorts {
			out["net/ipv4/ip_unprivileged_port_start"] = "0"
		}
		if !s.node.RestrictPing && (user == nil || user.GetMode() == criapi.NamespaceMode_NODE) {
			out["net/ipv4/ping_group_range"] = "0 2147483647"
		}
	}
	given := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(asked)) {
		at := fmt.Sprintf("%s[%q]", field, key)
		path, ok := sysctlPath(key)
		if !ok {
			return nil, invalid(at, "is not the name of a sysctl")
		}
		if err := checkSysctl(at, path, ns); err != nil {
			return nil, err
		}
		if strings.ContainsRune(asked[key], 0) {
			return nil, invalid(at, "the value holds a NUL")
		}
		if given[path] {
			return nil, invalid(at, "is given twice")
		}
		given[path] = true
		out[path] = asked[key]
	}
	return out, nil
}

// sysctlPath reads a name as sysctl(8) does: parts are separated by whichever of
// dot and slash comes first, and the other one stands for it within a part.
func sysctlPath(key string) (string, bool) {
	path := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		path = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	if !strings.Contains(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	return path, true
}

func checkSysctl(at, path string, ns runtime.Namespaces) error {
	var owner runtime.Mode
	kind := "IPC"
	switch {
	case strings.HasPrefix(path, "net/"):
		owner, kind = ns.Network, "network"
	case strings.HasPrefix(path, "fs/mqueue/"), strings.HasPrefix(path, "kernel/shm"),
		strings.HasPrefix(path, "kernel/msg"), path == "kernel/sem", path == "kernel/sem_next_id":
		owner = ns.IPC
	case path == "kernel/domainname":
		owner, kind = ns.UTS, "UTS"
	case path == "kernel/hostname":
		return invalid(at, "is the pod's hostname, which has a field of its own")
	case strings.HasPrefix(path, "user/"):
		return invalid(at, "limits a user namespace of the node's, not one of the pod's own")
	default:
		return invalid(at, "belongs to the whole node, not to a namespace")
	}
	if owner == runtime.ModeHost {
		return invalid(at, "the pod uses the node's %s namespace", kind)
	}
	return nil
}
