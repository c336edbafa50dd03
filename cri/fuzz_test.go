package cri

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// FuzzRequests sees that no request, whatever is in it, does worse than being
// refused with a code.
func FuzzRequests(f *testing.F) {
	pod, err := proto.Marshal(&criapi.PodSandboxConfig{
		Metadata: &criapi.PodSandboxMetadata{Name: "p"}, DnsConfig: &criapi.DNSConfig{Servers: []string{"1.1.1.1"}},
		PortMappings: []*criapi.PortMapping{{HostPort: 1, ContainerPort: 2}},
		Linux:        &criapi.LinuxPodSandboxConfig{Sysctls: map[string]string{"net.x": "1"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	container, err := proto.Marshal(&criapi.ContainerConfig{
		Metadata: &criapi.ContainerMetadata{Name: "c"}, Image: &criapi.ImageSpec{Image: "i"},
		Mounts: []*criapi.Mount{{ContainerPath: "/a", HostPath: "/b"}}, Devices: []*criapi.Device{{HostPath: "/dev/x"}},
		Linux: &criapi.LinuxContainerConfig{
			Resources:       &criapi.LinuxContainerResources{CpuShares: 2, HugepageLimits: []*criapi.HugepageLimit{{PageSize: "2MB"}}},
			SecurityContext: &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pod, container)
	s := testServer()
	f.Fuzz(func(t *testing.T, pod, container []byte) {
		var p criapi.PodSandboxConfig
		spec := runtime.InstanceSpec{LogDir: "/l"}
		if proto.Unmarshal(pod, &p) == nil {
			var err error
			if spec, err = s.instanceSpec(&p, ""); err != nil && status.Code(err) != codes.InvalidArgument {
				t.Errorf("pod: %v, want InvalidArgument", err)
			}
		}
		var c criapi.ContainerConfig
		if proto.Unmarshal(container, &c) == nil {
			made, err := s.containerSpec(&c, &spec)
			if err != nil && status.Code(err) != codes.InvalidArgument {
				t.Errorf("container: %v, want InvalidArgument", err)
			}
			s.containerStatus(&runtime.Container{Spec: made, State: runtime.ContainerExited})
		}
	})
}
