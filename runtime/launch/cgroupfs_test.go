package launch

import (
	"slices"
	"testing"
)

func TestHierarchiesAreNamedAsTheHostMountsThem(t *testing.T) {
	for _, test := range []struct {
		name        string
		join        []string
		dirs, names []string
	}{
		{
			"v1",
			[]string{"/sys/fs/cgroup/memory/a/b/tasks", "/sys/fs/cgroup/cpu,cpuacct/a/b/tasks"},
			[]string{"/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/cpu,cpuacct/a/b"},
			[]string{"memory", "cpu,cpuacct"},
		},
		{
			"mounted apart",
			[]string{"/cg/memory/x/tasks", "/other/pids/x/tasks"},
			[]string{"/cg/memory/x", "/other/pids/x"},
			[]string{"memory", "pids"},
		},
		{"one alone", []string{"/sys/fs/cgroup/memory/a/tasks"}, nil, nil},
		{"whole processes", []string{"/sys/fs/cgroup/memory/a/cgroup.procs", "/sys/fs/cgroup/pids/a/cgroup.procs"}, nil, nil},
		{"nothing in common", []string{"/a/tasks", "/b/tasks"}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dirs, names := hierarchyDirs(test.join)
			if !slices.Equal(dirs, test.dirs) && test.dirs != nil || !slices.Equal(names, test.names) {
				t.Errorf("hierarchyDirs = %v, %v; want %v, %v", dirs, names, test.dirs, test.names)
			}
		})
	}
}
