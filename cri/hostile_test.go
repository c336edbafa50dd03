package cri

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

func TestArgumentsThatNoProgramTakesAreRefused(t *testing.T) {
	long := make([]string, 30)
	for i := range long {
		long[i] = strings.Repeat("x", 100_000)
	}
	fits := long[:20]
	for name, edit := range map[string]func(*criapi.ContainerConfig){
		"command": func(c *criapi.ContainerConfig) { c.Command = long },
		"args":    func(c *criapi.ContainerConfig) { c.Args = long },
		"NUL":     func(c *criapi.ContainerConfig) { c.Args = []string{"a", "\x00"} },
	} {
		c := &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: "c"}, Image: &criapi.ImageSpec{Image: "i"}, Command: fits, Args: fits,
		}
		if err := checkContainer(c); err != nil {
			t.Errorf("checkContainer() = %v, want none", err)
		}
		edit(c)
		if err := checkContainer(c); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
	if err := checkCommand(long); status.Code(err) != codes.InvalidArgument {
		t.Errorf("checkCommand() = %v, want InvalidArgument", err)
	}
}

func TestAReasonOfAnyBytesCanBeTold(t *testing.T) {
	s := testServer()
	for _, state := range []runtime.ContainerState{runtime.ContainerExited, runtime.ContainerUnknown} {
		c := &runtime.Container{State: state, Reason: "open /a\xff: no such file"}
		if _, err := proto.Marshal(s.containerStatus(c)); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	if _, err := proto.Marshal(condition("k", "r", status.Error(codes.Unknown, "\xff"))); err != nil {
		t.Error(err)
	}
}
