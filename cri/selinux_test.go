package cri

import (
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

func TestSELinuxOptionsAreTakenWhereTheyCanBe(t *testing.T) {
	full := &criapi.SELinuxOption{User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"}
	for _, c := range []struct {
		what    string
		node    SELinux
		options *criapi.SELinuxOption
		want    string // of the error
	}{
		{"nothing", SELinux{}, nil, ""},
		{"empty", SELinux{}, &criapi.SELinuxOption{}, ""},
		{"no kernel", SELinux{Enabled: true}, full, "f.selinux_options: not supported: this node's kernel runs without SELinux"},
		{"not enabled", SELinux{Supported: true}, full, "set enable_selinux in its configuration"},
		{"enabled", SELinux{Supported: true, Enabled: true}, full, ""},
		{"a level that is none, before the rest", SELinux{}, &criapi.SELinuxOption{Level: "x"}, `f.selinux_options.level: "x" is not a level`},
		{"a user of two parts", SELinux{}, &criapi.SELinuxOption{User: "a:b"}, `f.selinux_options.user: "a:b"`},
		{"a type with a newline", SELinux{}, &criapi.SELinuxOption{Type: "a\n"}, `f.selinux_options.type: "a\n"`},
	} {
		s := &Server{node: Node{SELinux: c.node}}
		got, err := s.selinux("f", c.options)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		case c.options == full && got != (runtime.SELinux{User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"}):
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// The cases are containerd's and some more.
func TestLevelsAreContainerds(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "s0": true, "s0-s0": true, "s1:c0": true, "s0:c0,c3": true, "s0:c0.c1023": true, "s0-s0:c0,c3.c7,c9": true, "s0:c0.c4": true,
		"s0:c0,c3.c7": true, "s0,c0,c3": false, "s0:c0.c1024567": false, "s0:c0-c3": false, "s0:": false, "ss0": false, "s0,c0": false,
		"s10": false, " s0": false, "s0\n": false,
	} {
		if got := isLevel(text); got != want {
			t.Errorf("isLevel(%q) = %v, want %v", text, got, want)
		}
	}
}
