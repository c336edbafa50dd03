package runtime

import (
	"errors"
	"math"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

func TestUserNamespaceOfInstance(t *testing.T) {
	fine := program.IDMap{Host: 1000, Length: 65536}
	for _, c := range []struct {
		name string
		in   Namespaces
		want string
	}{
		{"none", Namespaces{PID: ModeHost}, ""},
		{"its own", Namespaces{User: &UserNamespace{fine, fine}}, ""},
		{"with the node's network", Namespaces{Network: ModeHost, UTS: ModeHost, User: &UserNamespace{fine, fine}}, ""},
		{"nothing mapped", Namespaces{User: &UserNamespace{UIDs: fine}}, "no group ids are mapped"},
		{"no root", Namespaces{User: &UserNamespace{program.IDMap{Container: 1, Host: 1, Length: 1}, fine}}, "user id 0 is not mapped"},
		{"to the end", Namespaces{User: &UserNamespace{program.IDMap{Host: math.MaxUint32 - 1, Length: 1}, fine}}, ""},
		{"too far", Namespaces{User: &UserNamespace{fine, program.IDMap{Host: math.MaxUint32, Length: 1}}}, "group ids are mapped up to 4294967295"},
		{"with the node's PIDs", Namespaces{PID: ModeHost, User: &UserNamespace{fine, fine}}, "PID namespace can't"},
		{"with the node's IPC", Namespaces{IPC: ModeHost, User: &UserNamespace{fine, fine}}, "IPC namespace can't"},
	} {
		err := c.in.checkUser()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrInvalid)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestHooksAreRefusedInAUserNamespace(t *testing.T) {
	own := &Namespaces{User: &UserNamespace{}}
	if err := noHooksInside(&specs.Hooks{}, own); !errors.Is(err, ErrInvalid) {
		t.Errorf("hooks: %v", err)
	}
	if err := errors.Join(noHooksInside(nil, own), noHooksInside(&specs.Hooks{}, &Namespaces{})); err != nil {
		t.Error(err)
	}
}
