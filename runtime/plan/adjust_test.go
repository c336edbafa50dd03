package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func adjustable() *specs.Spec {
	return &specs.Spec{
		Process: &specs.Process{Args: []string{"old"}, Env: []string{"A=1", "B=2"}, Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: 1}}},
		Mounts:  []specs.Mount{{Destination: "/a"}, {Destination: "/a/b"}, {Destination: "/c"}},
		Linux: &specs.Linux{
			Devices:   []specs.LinuxDevice{{Path: "/dev/x"}, {Path: "/dev/y"}},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
		},
	}
}

func TestAdjustChangesWhatIsNamedAndNothingElse(t *testing.T) {
	said, major, minor := "said", int64(1), int64(3)
	spec, want := adjustable(), adjustable()
	err := Adjust(spec, &Adjustment{
		Annotations: map[string]*string{"more": &said, "gone": nil}, Unset: []string{"A"}, Env: []string{"B=3", "C=4"},
		Args: []string{"new", "arg"}, Unmount: []string{"/c/"}, RemoveDevices: []string{"/dev/x"},
		Mounts:  []specs.Mount{{Destination: "/a", Source: "/s", Options: []string{"bind", "rslave"}}},
		Devices: []specs.LinuxDevice{{Path: "/dev/y", Type: "c", Major: major, Minor: minor}},
		Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want.Annotations = map[string]string{"more": "said"}
	want.Process.Env, want.Process.Args = []string{"B=3", "C=4"}, []string{"new", "arg"}
	want.Process.Rlimits[0].Hard = 2
	want.Mounts = []specs.Mount{{Destination: "/a", Type: "bind", Source: "/s", Options: []string{"bind", "rslave"}}, {Destination: "/a/b"}}
	want.Linux.RootfsPropagation = "rslave"
	want.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/y", Type: "c", Major: major, Minor: minor}}
	want.Linux.Resources.Devices = append(want.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rw"})
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("adjusted (-want +got):\n%s", diff)
	}
	spec = adjustable()
	if err := Adjust(spec, nil); err != nil || !cmp.Equal(spec, adjustable()) {
		t.Errorf("no adjustment changed the spec, %v", err)
	}
}

func TestAdjustLeavesDevicesOfThePrivilegedUnlimited(t *testing.T) {
	spec := adjustable()
	spec.Linux.Resources.Devices = nil
	if err := Adjust(spec, &Adjustment{Devices: []specs.LinuxDevice{{Path: "/dev/z", Type: "c"}}}); err != nil {
		t.Fatal(err)
	}
	if n := len(spec.Linux.Resources.Devices); n != 0 {
		t.Errorf("%d rules, want none: one would forbid the rest", n)
	}
}

func TestAdjustRefusesMountsThatAreNone(t *testing.T) {
	for want, m := range map[string]specs.Mount{
		"below the root":         {Destination: "/", Type: "tmpfs"},
		"not a path":             {Destination: "x", Type: "tmpfs"},
		"unknown type":           {Destination: "/x", Type: "x-siflet.image"},
		"not an absolute path":   {Destination: "/x", Type: "bind", Source: "x"},
		"neither a type":         {Destination: "/x", Source: "/y"},
		`option "x-siflet.image`: {Destination: "/x", Type: "tmpfs", Options: []string{"x-siflet.image=y"}},
		`option "lazy"`:          {Destination: "/x", Source: "/y", Options: []string{"rbind", "lazy"}},
		"ID mappings":            {Destination: "/x", Type: "tmpfs", UIDMappings: []specs.LinuxIDMapping{{}}},
	} {
		if err := Adjust(adjustable(), &Adjustment{Mounts: []specs.Mount{m}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", m, err, want)
		}
	}
}

func TestOwnSysctlKnowsTheNamespaces(t *testing.T) {
	for name, want := range map[string]string{
		"net.core.somaxconn": "network", "net/core/somaxconn": "network", "kernel.shmmax": "IPC", "kernel.sem_next_id": "IPC", "kernel.domainname": "UTS",
		"kernel.panic": "", "vm.swappiness": "", "net..x": "", "net.../../kernel.panic": "",
	} {
		if got := OwnSysctl(name); got != want {
			t.Errorf("OwnSysctl(%q) = %q, want %q", name, got, want)
		}
	}
}
