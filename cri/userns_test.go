package cri

import (
	"math"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/program"
)

func ids(container, host, length uint32) []*criapi.IDMapping {
	return []*criapi.IDMapping{{ContainerId: container, HostId: host, Length: length}}
}

func userns(mode criapi.NamespaceMode, uids, gids []*criapi.IDMapping) *criapi.UserNamespace {
	return &criapi.UserNamespace{Mode: mode, Uids: uids, Gids: gids}
}

func TestUserNamespaceOfPod(t *testing.T) {
	const pod, node = criapi.NamespaceMode_POD, criapi.NamespaceMode_NODE
	one := ids(0, 1000, 65536)
	for _, c := range []struct {
		name string
		in   *criapi.UserNamespace
		want string // of the error
	}{
		{"unknown to the client", nil, ""},
		{"the node's", userns(node, nil, nil), ""},
		{"its own", userns(pod, one, ids(0, 2000, 10)), ""},
		{"as much as there is", userns(pod, ids(0, 1, math.MaxUint32-1), one), ""},
		{"the node's with uids", userns(node, one, nil), "f.uids: mode NODE takes no mappings"},
		{"the node's with gids", userns(node, nil, one), "f.gids: mode NODE takes no mappings"},
		{"no uids", userns(pod, nil, one), "f.uids: one mapping is needed"},
		{"no gids", userns(pod, one, nil), "f.gids: one mapping is needed"},
		{"nothing mapped", &criapi.UserNamespace{}, "f.uids: one mapping is needed"},
		{"two lines", userns(pod, append(ids(0, 5, 1), ids(1, 9, 1)...), one), "f.uids: one mapping is possible, there are 2"},
		{"two lines that overlap", userns(pod, one, append(ids(0, 5, 9), ids(0, 6, 9)...)), "f.gids: one mapping is possible, there are 2"},
		{"a nil line", userns(pod, []*criapi.IDMapping{nil}, one), "f.uids[0].length: is 0"},
		{"no length", userns(pod, one, ids(0, 1000, 0)), "f.gids[0].length: is 0"},
		{"root not mapped", userns(pod, ids(1, 1000, 10), one), "f.uids[0].container_id: is 1"},
		{"groups without root's", userns(pod, one, ids(7, 1000, 10)), "f.gids[0].container_id: is 7"},
		{"the node's root", userns(pod, ids(0, 0, 10), one), "f.uids[0].host_id: is 0"},
		{"too far on the host", userns(pod, ids(0, math.MaxUint32-10, 11), one), "f.uids[0].host_id: 11 ids from 4294967285 on go beyond 4294967294"},
		{"beyond 32 bits", userns(pod, one, ids(0, math.MaxUint32, math.MaxUint32)), "f.gids[0].host_id"},
		{"too far inside", userns(pod, ids(0, 1, math.MaxUint32), one), "go beyond"},
		{"of a container", userns(criapi.NamespaceMode_CONTAINER, nil, nil), "f.mode: mode CONTAINER is not possible"},
		{"of a target", userns(criapi.NamespaceMode_TARGET, one, one), "f.mode: mode TARGET is not possible"},
		{"of no kind", userns(9, nil, nil), "f.mode: unknown mode 9"},
	} {
		got, err := userNamespace("f", c.in)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		case err == nil && (got != nil) != (c.in != nil && c.in.Mode == pod):
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestUserNamespaceGoesWithNoNamespaceOfTheNodesButTheNetwork(t *testing.T) {
	one := ids(0, 1000, 65536)
	const node = criapi.NamespaceMode_NODE
	for _, c := range []struct {
		in   *criapi.NamespaceOption
		want string
	}{
		{&criapi.NamespaceOption{Network: node}, ""},
		{&criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER}, ""},
		{&criapi.NamespaceOption{Pid: node}, "f.pid: mode NODE is not possible"},
		{&criapi.NamespaceOption{Ipc: node}, "f.ipc: mode NODE is not possible"},
	} {
		c.in.UsernsOptions = userns(criapi.NamespaceMode_POD, one, one)
		if _, err := podNamespaces("f", c.in); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.in, err, c.want)
		}
	}
}

func TestContainerHasUserNamespaceOfItsPod(t *testing.T) {
	one, other := ids(0, 1000, 65536), ids(0, 1000, 65535)
	m := program.IDMap{Host: 1000, Length: 65536}
	own, none := &runtime.UserNamespace{UIDs: m, GIDs: m}, (*runtime.UserNamespace)(nil)
	const pod, node = criapi.NamespaceMode_POD, criapi.NamespaceMode_NODE
	for _, c := range []struct {
		name string
		in   *criapi.UserNamespace
		pod  *runtime.UserNamespace
		want string
	}{
		{"the same", userns(pod, one, one), own, ""},
		{"the node's both", userns(node, nil, nil), none, ""},
		{"not said", nil, none, ""},
		{"not said in a pod with its own", nil, own, "f.userns_options.mode: mode NODE, but the pod was made with POD"},
		{"the node's in a pod with its own", userns(node, nil, nil), own, "mode NODE, but"},
		{"its own in a pod with the node's", userns(pod, one, one), none, "mode POD, but the pod was made with NODE"},
		{"other uids", userns(pod, other, one), own, `f.userns_options.uids: "0 1000 65535", but the pod was made with "0 1000 65536"`},
		{"other gids", userns(pod, one, other), own, "f.userns_options.gids"},
		{"a mistake", userns(pod, one, nil), own, "f.userns_options.gids: one mapping is needed"},
	} {
		_, _, err := containerPID("f", &criapi.NamespaceOption{UsernsOptions: c.in}, runtime.Namespaces{User: c.pod})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	node1 := &criapi.NamespaceOption{Pid: node, UsernsOptions: userns(pod, one, one)}
	if _, _, err := containerPID("f", node1, runtime.Namespaces{User: own}); err == nil || !strings.Contains(err.Error(), "f.pid: mode NODE") {
		t.Errorf("the node's PID namespace: error %v", err)
	}
}

func TestMountsInUserNamespace(t *testing.T) {
	m, other := program.IDMap{Host: 1000, Length: 65536}, program.IDMap{Host: 1000, Length: 1}
	own := &runtime.UserNamespace{UIDs: m, GIDs: m}
	for _, c := range []struct {
		name string
		in   runtime.Mount
		pod  *runtime.UserNamespace
		want string
	}{
		{"plain", runtime.Mount{}, own, ""},
		{"mapped", runtime.Mount{UIDs: &m, GIDs: &m}, own, ""},
		{"mapped otherwise", runtime.Mount{UIDs: &other, GIDs: &m}, own, ""},
		{"mapped in the node's", runtime.Mount{UIDs: &m, GIDs: &m}, nil, ""},
		{"an image", runtime.Mount{Image: "i", UIDs: &m, GIDs: &m}, own, ""},
		{"an image with other ids", runtime.Mount{Image: "i", UIDs: &m, GIDs: &other}, own, "mounts[0].uidMappings"},
		{"an image without the namespace", runtime.Mount{Image: "i", UIDs: &m, GIDs: &m}, nil, "mounts[0].uidMappings"},
		{"both ways", runtime.Mount{Propagation: "shared"}, own, "mounts[0].propagation: mode BIDIRECTIONAL"},
		{"both ways in the node's", runtime.Mount{Propagation: "shared"}, nil, ""},
	} {
		err := mountsInside([]runtime.Mount{c.in}, c.pod)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	out := runtime.Mount{}
	if err := mountMappings("m", &criapi.Mount{UidMappings: ids(0, 5, 5)}, &out); err == nil || !strings.Contains(err.Error(), "m.gidMappings: one mapping is needed") {
		t.Errorf("uids without gids: %v", err)
	}
}

func TestIDsAreShownAsThePodSeesThem(t *testing.T) {
	u := parseIdentity("Uid:\t101000\t0\t0\t0\nGid:\t200000\t0\t0\t0\nGroups:\t200007 5 265535 265536\n")
	insideUser(u, &runtime.UserNamespace{
		UIDs: program.IDMap{Host: 100000, Length: 65536}, GIDs: program.IDMap{Host: 200000, Length: 65536},
	})
	l := u.Linux
	if l.Uid != 1000 || l.Gid != 0 || len(l.SupplementalGroups) != 5 || l.SupplementalGroups[1] != 7 ||
		l.SupplementalGroups[2] != 65534 || l.SupplementalGroups[3] != 65535 || l.SupplementalGroups[4] != 65534 {
		t.Errorf("insideUser made %v", l)
	}
}
