package cri

import (
	"regexp"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// SELinux is that of the node.
type SELinux struct {
	Supported bool // by the kernel
	Enabled   bool // by the configuration
}

// selinux is what a label is asked to be. A node that labels nothing refuses it.
func (s *Server) selinux(field string, o *criapi.SELinuxOption) (runtime.SELinux, error) {
	field += ".selinux_options"
	out := runtime.SELinux{User: o.GetUser(), Role: o.GetRole(), Type: o.GetType(), Level: o.GetLevel()}
	for _, f := range [][2]string{{"user", out.User}, {"role", out.Role}, {"type", out.Type}} {
		if strings.ContainsFunc(f[1], func(r rune) bool { return r <= ' ' || r == ':' || r >= 0x7f }) {
			return out, invalid(field+"."+f[0], "%q is no part of a label", f[1])
		}
	}
	if !isLevel(out.Level) {
		return out, invalid(field+".level", "%q is not a level, such as s0:c1,c2", out.Level)
	}
	switch {
	case out == runtime.SELinux{}:
	case !s.node.SELinux.Supported:
		return out, unsupported(field, "this node's kernel runs without SELinux")
	case !s.node.SELinux.Enabled:
		return out, unsupported(field, "this node's agent labels nothing; set enable_selinux in its configuration")
	}
	return out, nil
}

// isLevel takes what containerd takes.
func isLevel(text string) bool {
	return text == "" || regexp.MustCompile(`^s\d(-s\d)??(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$`).MatchString(text)
}
