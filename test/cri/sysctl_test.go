package cri_test

import (
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSysctlsAreThePodsOwn(t *testing.T) {
	a := start(t)
	config := podConfig(a, "p")
	config.Linux.Sysctls = map[string]string{
		"net.core.somaxconn": "321", "kernel/shm_rmid_forced": "1", "kernel.domainname": "a.test",
		"fs.mqueue.msg_max": "11", "net.ipv4.conf.eth0.forwarding": "0",
	}
	pod := a.pod(config)
	const command = "cd /proc/sys; cat net/core/somaxconn kernel/shm_rmid_forced kernel/domainname fs/mqueue/msg_max " +
		"net/ipv4/conf/eth0/forwarding net/ipv4/ip_unprivileged_port_start; cat net/ipv4/ping_group_range | tr '\\t' ' '"
	got := a.once(pod, config, "c", busybox(t), command, nil)
	if want := "321\n1\na.test\n11\n0\n0\n0 2147483647"; got != want {
		t.Errorf("the container has %q, want %q", got, want)
	}
	listen := containerConfig("listen", busybox(t), "nc", "-l", "-p", "80")
	listen.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1000}}
	id := a.launch(pod, listen, config)
	eventually(t, "port 80", func() bool {
		return strings.Contains(string(a.execSync(id, "cat", "/proc/net/tcp", "/proc/net/tcp6").Stdout), ":0050 ")
	})
}

func TestSysctlsOfTheNodeAreRefused(t *testing.T) {
	a := start(t)
	node := &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE, Ipc: criapi.NamespaceMode_NODE}
	for _, c := range []struct {
		key, value string
		options    *criapi.NamespaceOption
		text       string
	}{
		{"vm.swappiness", "1", nil, `linux.sysctls["vm.swappiness"]: belongs to the whole node`},
		{"kernel.panic", "1", nil, "belongs to the whole node"},
		{"kernel.hostname", "x", nil, "is the pod's hostname"},
		{"user.max_user_namespaces", "1", nil, "limits a user namespace"},
		{"net.core.somaxconn", "1", node, "the pod uses the node's network namespace"},
		{"net/core/somaxconn", "1", node, "the pod uses the node's network namespace"},
		{"kernel.domainname", "x", node, "the pod uses the node's UTS namespace"},
		{"kernel.shm_rmid_forced", "1", node, "the pod uses the node's IPC namespace"},
		{"kernel.msgmax", "1", node, "the pod uses the node's IPC namespace"},
		{"kernel.sem", "1", node, "the pod uses the node's IPC namespace"},
		{"fs.mqueue.msg_max", "1", node, "the pod uses the node's IPC namespace"},
		{"net.core/../../kernel/panic", "1", nil, "is not the name of a sysctl"},
		{"net..core", "1", nil, "is not the name of a sysctl"},
		{"net.core.no_such_setting", "1", nil, "net/core/no_such_setting"},
		{"net.core.somaxconn", "many", nil, "net/core/somaxconn"},
	} {
		config := podConfig(a, "p")
		config.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{NamespaceOptions: c.options}
		config.Linux.Sysctls = map[string]string{c.key: c.value}
		_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: config})
		wantRefusal(t, c.key+" = "+c.value, err, "InvalidArgument", c.text)
	}
	config := podConfig(a, "p")
	config.Linux.Sysctls = map[string]string{"kernel.shm_rmid_forced": "many"}
	_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: config})
	wantRefusal(t, "a value that the kernel does not take", err, "InvalidArgument", `sysctl kernel/shm_rmid_forced = "many": invalid argument`)
	a.checkNoPod()
}
