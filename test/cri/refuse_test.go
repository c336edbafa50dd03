package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPodsThatAreRefusedLeaveNothing(t *testing.T) {
	a := start(t)
	namespaces := func(set func(o *criapi.NamespaceOption)) func(*criapi.PodSandboxConfig) {
		return func(c *criapi.PodSandboxConfig) {
			o := &criapi.NamespaceOption{}
			set(o)
			c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: o}
		}
	}
	one := &criapi.IDMapping{HostId: 100000, Length: 65536}
	users := func(mode criapi.NamespaceMode, m ...*criapi.IDMapping) func(*criapi.PodSandboxConfig) {
		return namespaces(func(o *criapi.NamespaceOption) { o.UsernsOptions = &criapi.UserNamespace{Mode: mode, Uids: m, Gids: m} })
	}
	for _, c := range []struct {
		name string
		edit func(c *criapi.PodSandboxConfig)
		code string
		text string
	}{
		{"no name", func(c *criapi.PodSandboxConfig) { c.Metadata.Name = "" }, "InvalidArgument", "metadata.name: is missing"},
		{"no metadata", func(c *criapi.PodSandboxConfig) { c.Metadata = nil }, "InvalidArgument", "metadata.name"},
		{"unknown mode", namespaces(func(o *criapi.NamespaceOption) { o.Pid = 7 }), "InvalidArgument", "linux.security_context.namespace_options.pid: unknown mode 7"},
		{"network of a container", namespaces(func(o *criapi.NamespaceOption) { o.Network = criapi.NamespaceMode_CONTAINER }), "InvalidArgument", "namespace_options.network"},
		{"user namespace", namespaces(func(o *criapi.NamespaceOption) { o.UsernsOptions = &criapi.UserNamespace{} }), "InvalidArgument", "userns_options.uids: one mapping is needed"},
		{"two user mappings", users(ofPod, one, one), "InvalidArgument", "userns_options.uids: one mapping is possible, there are 2"},
		{"root that is not mapped", users(ofPod, &criapi.IDMapping{HostId: 100000, ContainerId: 1, Length: 65536}), "InvalidArgument", "userns_options.uids[0].container_id"},
		{"user namespace of a container", users(ofContainer, one), "InvalidArgument", "userns_options.mode"},
		{"user namespace of a target", users(ofTarget, one), "InvalidArgument", "userns_options.mode"},
		{"mappings of the node's users", users(ofNode, one), "InvalidArgument", "userns_options.uids: mode NODE"},
		{"target", namespaces(func(o *criapi.NamespaceOption) { o.Pid = ofTarget }), "InvalidArgument", "namespace_options.pid"},
		{"group alone", func(c *criapi.PodSandboxConfig) {
			c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{RunAsGroup: &criapi.Int64Value{Value: 1}}
		}, "InvalidArgument", "linux.security_context.run_as_group: is set without a user"},
		{"cgroup parent", func(c *criapi.PodSandboxConfig) { c.Linux.CgroupParent = "/no/../parent" }, "InvalidArgument", "linux.cgroup_parent"},
		{"slice", func(c *criapi.PodSandboxConfig) { c.Linux.CgroupParent = "kubepods.slice" }, "InvalidArgument", "names a systemd slice"},
		{"node's sysctl", func(c *criapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"vm.swappiness": "1"} }, "InvalidArgument", `linux.sysctls["vm.swappiness"]`},
		{"port", func(c *criapi.PodSandboxConfig) {
			c.PortMappings = []*criapi.PortMapping{{HostPort: 70000, ContainerPort: 80}}
		}, "InvalidArgument", "port_mappings[0].host_port: 70000"},
		{"name server", func(c *criapi.PodSandboxConfig) {
			c.DnsConfig = &criapi.DNSConfig{Servers: []string{"x\noptions y"}}
		}, "InvalidArgument", "dns_config.servers[0]"},
		{"relative log directory", func(c *criapi.PodSandboxConfig) { c.LogDirectory = "logs" }, "InvalidArgument", "log_directory"},
		{"Windows", func(c *criapi.PodSandboxConfig) { c.Windows = &criapi.WindowsPodSandboxConfig{} }, "InvalidArgument", "windows"},
	} {
		config := podConfig(a, "p")
		c.edit(config)
		_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: config})
		wantRefusal(t, c.name, err, c.code, c.text)
	}
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: podConfig(a, "p"), RuntimeHandler: "kata"})
	wantRefusal(t, "handler", err, "InvalidArgument", "runtime_handler")
	a.checkNoPod()
	a.pod(podConfig(a, "p"))
}

func wantRefusal(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	wantCode(t, what, err, code)
	if err != nil && !strings.Contains(status.Convert(err).Message(), text) {
		t.Errorf("%s: %v, want one with %q", what, err, text)
	}
}

func (a *agent) checkNoPod() {
	a.t.Helper()
	pods, err := a.ListPodSandbox(within(a.t), &criapi.ListPodSandboxRequest{})
	if err != nil || len(pods.Items) != 0 {
		a.t.Errorf("pods = %v, %v; want none", pods, err)
	}
	entries, err := os.ReadDir(a.dir + "/state/instances")
	if err != nil || len(entries) != 0 {
		a.t.Errorf("records = %v, %v; want none", entries, err)
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: p})
	wantCode(t, "second pod", err, "AlreadyExists")
	c := containerConfig("c", busybox(t), "true")
	id := a.create(pod, c, p)
	_, err = a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	wantCode(t, "second container", err, "AlreadyExists")
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	a.create(pod, c, p)
}

func TestAHostPortIsTakenOnce(t *testing.T) {
	a := start(t)
	config := func(name string) *criapi.PodSandboxConfig {
		c := podConfig(a, name)
		c.PortMappings = []*criapi.PortMapping{{HostPort: 18080, ContainerPort: 80}}
		return c
	}
	first := a.pod(config("one"))
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: config("two")})
	wantRefusal(t, "second pod", err, "Unavailable", "18080")
	if _, err := a.RemovePodSandbox(within(t), &criapi.RemovePodSandboxRequest{PodSandboxId: first}); err != nil {
		t.Fatal(err)
	}
	a.checkNoPod()
	a.pod(config("two"))
}

func TestContainersThatAreRefusedLeaveNothing(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	security := func(set func(s *criapi.LinuxContainerSecurityContext)) func(*criapi.ContainerConfig) {
		return func(c *criapi.ContainerConfig) {
			c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{}
			set(c.Linux.SecurityContext)
		}
	}
	mount := func(m *criapi.Mount) func(*criapi.ContainerConfig) {
		return func(c *criapi.ContainerConfig) { c.Mounts = []*criapi.Mount{m} }
	}
	for _, c := range []struct {
		name string
		edit func(c *criapi.ContainerConfig)
		text string
	}{
		{"no name", func(c *criapi.ContainerConfig) { c.Metadata = nil }, "metadata.name"},
		{"bind source below a file", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "/dev/null/source"}), "/dev/null/source"},
		{"relative bind source", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "x"}), "mounts[0].host_path"},
		{"propagation", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "/tmp", Propagation: 9}), "mounts[0].propagation: unknown mode 9"},
		{"recursive read-only", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "/tmp", RecursiveReadOnly: true}), "mounts[0].recursive_read_only"},
		{"recursive read-only, slave", mount(&criapi.Mount{
			ContainerPath: "/x", HostPath: "/tmp", Readonly: true, RecursiveReadOnly: true, Propagation: slave,
		}), "mounts[0].recursive_read_only"},
		{"recursive read-only, shared", mount(&criapi.Mount{
			ContainerPath: "/x", HostPath: "/tmp", Readonly: true, RecursiveReadOnly: true, Propagation: shared,
		}), "mounts[0].recursive_read_only"},
		{"mapped mount", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "/tmp", UidMappings: []*criapi.IDMapping{{Length: 1}}}), "uidMappings[0].host_id"},
		{"mount option", mount(&criapi.Mount{ContainerPath: "/x", HostPath: "/tmp", MountOptions: []string{"suid"}}), "mounts[0].mount_options[0]"},
		{"capability", security(func(s *criapi.LinuxContainerSecurityContext) {
			s.Capabilities = &criapi.Capability{AddCapabilities: []string{"FLY"}}
		}), "linux.security_context.capabilities.add_capabilities[0]"},
		{"user", security(func(s *criapi.LinuxContainerSecurityContext) { s.RunAsUser = &criapi.Int64Value{Value: -1} }), "linux.security_context.run_as_user"},
		{"group alone", security(func(s *criapi.LinuxContainerSecurityContext) { s.RunAsGroup = &criapi.Int64Value{Value: 1} }), "linux.security_context.run_as_group"},
		{"user by number and name", security(func(s *criapi.LinuxContainerSecurityContext) {
			s.RunAsUser, s.RunAsUsername = &criapi.Int64Value{Value: 1}, "root"
		}), "linux.security_context.run_as_username"},
		{"privileged in another pod", security(func(s *criapi.LinuxContainerSecurityContext) { s.Privileged = true }), "linux.security_context.privileged"},
		{"missing profile", security(func(s *criapi.LinuxContainerSecurityContext) {
			s.Seccomp = &criapi.SecurityProfile{ProfileType: criapi.SecurityProfile_Localhost, LocalhostRef: "/no/such/profile"}
		}), "/no/such/profile"},
		{"target", security(func(s *criapi.LinuxContainerSecurityContext) {
			s.NamespaceOptions = &criapi.NamespaceOption{Pid: criapi.NamespaceMode_TARGET, TargetId: "nobody"}
		}), "namespace_options.target_id"},
		{"CDI", func(c *criapi.ContainerConfig) { c.CDIDevices = []*criapi.CDIDevice{{Name: "a/b=c"}} }, "unknown device a/b=c: no file in /etc/cdi, /var/run/cdi describes it"},
		{"device", func(c *criapi.ContainerConfig) { c.Devices = []*criapi.Device{{HostPath: "/dev/no-such"}} }, "devices[0].host_path"},
		{"limit", func(c *criapi.ContainerConfig) {
			c.Linux.Resources = &criapi.LinuxContainerResources{MemoryLimitInBytes: -1}
		}, "linux.resources.memory_limit_in_bytes"},
		{"environment", func(c *criapi.ContainerConfig) { c.Envs = []*criapi.KeyValue{{Key: "A=B"}} }, "envs[0].key"},
		{"log path", func(c *criapi.ContainerConfig) { c.LogPath = "../../etc/x" }, "log_path"},
		{"signal", func(c *criapi.ContainerConfig) { c.StopSignal = 999 }, "stop_signal"},
	} {
		config := containerConfig("c", image, "true")
		c.edit(config)
		_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})
		wantRefusal(t, c.name, err, "InvalidArgument", c.text)
	}
	list, err := a.ListContainers(within(t), &criapi.ListContainersRequest{})
	if err != nil || len(list.Containers) != 0 {
		t.Errorf("containers = %v, %v; want none", list, err)
	}
	a.exited(a.launch(pod, containerConfig("c", image, "true"), p))
}

func TestStartsThatFail(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := busybox(t)
	missing := a.create(pod, containerConfig("missing", image, "/no/such/command"), p)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: missing})
	wantRefusal(t, "missing command", err, "InvalidArgument", "/no/such/command")
	if s := a.status(missing); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode == 0 || s.Reason != "StartError" ||
		!strings.Contains(s.Message, "/no/such/command") {
		t.Errorf("status = %v, want exited by StartError", s)
	}
	stranger := containerConfig("stranger", image, "true")
	stranger.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUsername: "stranger"}
	wantRefusal(t, "user who is not in the image", a.refusal(pod, stranger, p), "InvalidArgument", "stranger")
	if err := os.WriteFile(filepath.Join(p.LogDirectory, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	config := containerConfig("unlogged", image, "true")
	config.LogPath = "file/x.log"
	made, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: p})
	if err == nil {
		_, err = a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: made.ContainerId})
	}
	if err == nil || !strings.Contains(err.Error(), "file") {
		t.Errorf("unwritable log: %v, want an error that names it", err)
	}
	a.exited(a.launch(pod, containerConfig("good", image, "true"), p))
}

func TestAbsentThingsAreStoppedAndRemoved(t *testing.T) {
	a := start(t)
	ctx := within(t)
	for name, err := range map[string]error{
		"StopPodSandbox":   second(a.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: "x"})),
		"RemovePodSandbox": second(a.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: "x"})),
		"StopContainer":    second(a.StopContainer(ctx, &criapi.StopContainerRequest{ContainerId: "x"})),
		"RemoveContainer":  second(a.RemoveContainer(ctx, &criapi.RemoveContainerRequest{ContainerId: "x"})),
		"RemoveImage":      second(a.images.RemoveImage(ctx, &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: "/x.sif"}})),
	} {
		wantCode(t, name, err, "OK")
	}
	for name, call := range map[string]func(id string) error{
		"PodSandboxStatus": func(id string) error {
			return second(a.PodSandboxStatus(ctx, &criapi.PodSandboxStatusRequest{PodSandboxId: id}))
		},
		"UpdatePodSandboxResources": func(id string) error {
			return second(a.UpdatePodSandboxResources(ctx, &criapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id}))
		},
		"PodSandboxStats": func(id string) error {
			return second(a.PodSandboxStats(ctx, &criapi.PodSandboxStatsRequest{PodSandboxId: id}))
		},
		"PortForward": func(id string) error {
			return second(a.PortForward(ctx, &criapi.PortForwardRequest{PodSandboxId: id}))
		},
		"CreateContainer": func(id string) error {
			return second(a.CreateContainer(ctx, &criapi.CreateContainerRequest{PodSandboxId: id, Config: containerConfig("c", "/x.sif")}))
		},
		"StartContainer": func(id string) error {
			return second(a.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: id}))
		},
		"ContainerStatus": func(id string) error {
			return second(a.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: id}))
		},
		"ContainerStats": func(id string) error {
			return second(a.ContainerStats(ctx, &criapi.ContainerStatsRequest{ContainerId: id}))
		},
		"UpdateContainerResources": func(id string) error {
			return second(a.UpdateContainerResources(ctx, &criapi.UpdateContainerResourcesRequest{ContainerId: id}))
		},
		"ReopenContainerLog": func(id string) error {
			return second(a.ReopenContainerLog(ctx, &criapi.ReopenContainerLogRequest{ContainerId: id}))
		},
		"ExecSync": func(id string) error {
			return second(a.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}}))
		},
		"Exec": func(id string) error {
			return second(a.Exec(ctx, &criapi.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdout: true}))
		},
		"Attach": func(id string) error {
			return second(a.Attach(ctx, &criapi.AttachRequest{ContainerId: id, Stdout: true}))
		},
	} {
		wantCode(t, name+" of nobody", call("x"), "NotFound")
		wantCode(t, name+" without an id", call(""), "InvalidArgument")
	}
}
