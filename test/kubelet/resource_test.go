package kubelet_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestAContainerOverItsMemoryIsOOMKilled(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "oom", `
restartPolicy: Never
containers:
- {name: c, image: IMAGE, command: [sh, -c, "tail /dev/zero"], resources: {limits: {memory: 24Mi}}}
- {name: first, image: IMAGE, command: [tail, /dev/zero], resources: {limits: {memory: 24Mi}}}
- {name: calm, image: IMAGE, command: [sh, -c, "exit 0"], resources: {limits: {memory: 24Mi}}}
`)
	s := p.phase("Failed")
	for name, want := range map[string]string{"c": "OOMKilled", "first": "OOMKilled", "calm": "Completed"} {
		if e := s.container(name).State.Terminated; e == nil || e.Reason != want || (e.ExitCode == 137) != (want == "OOMKilled") {
			t.Errorf("%s ended as %+v, want %s", name, e, want)
		}
	}
}

// values are what files of a pod's cgroups have, where they have it.
func (n *node) values(uid, below string, files ...string) (string, error) {
	for _, f := range files {
		for _, hierarchy := range []string{"/*", ""} {
			found, err := filepath.Glob("/sys/fs/cgroup" + hierarchy + n.cgroup + "/kubepods/*/pod" + uid + below + "/" + f)
			if err != nil {
				return "", err
			}
			for _, name := range found {
				text, err := os.ReadFile(name)
				return strings.TrimSpace(string(text)), err
			}
		}
	}
	return "", errors.New("there is no such file")
}

func TestLimitsAreThoseOfCgroupsWhereTheKubeletPutThePod(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "limits", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"], resources: {limits: {cpu: 300m, memory: 48Mi}, requests: {cpu: 100m, memory: 16Mi}}}
`)
	s := p.ready()
	uid := s.Metadata.UID
	id := strings.TrimPrefix(s.container("c").ContainerID, "siflet://")
	for _, c := range []struct {
		files []string
		want  string
	}{
		{[]string{"memory.limit_in_bytes", "memory.max"}, "50331648"},
		{[]string{"cpu.cfs_quota_us", "cpu.max"}, "30000"},
	} {
		for _, below := range []string{"", "/*/*" + id + "*"} {
			got, err := quiet.values(uid, below, c.files...)
			if err != nil || got != c.want && got != c.want+" 100000" {
				t.Errorf("%v of pod%s is %q, %v; want %s", c.files, below, got, err, c.want)
			}
		}
	}
	p.writes("c", map[string]string{"cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true": "50331648"})
	p.remove()
	eventually(t, "the pod's cgroups to be gone", func() error {
		if text, err := quiet.values(uid, "", "cgroup.procs"); err == nil {
			return fmt.Errorf("there is one, with %q", text)
		}
		return nil
	})
}

// cpus is which CPUs a container may use.
const cpus = "grep Cpus_allowed_list: /proc/self/status | cut -f2"

func TestCPUsAreGivenToContainersAloneAndBack(t *testing.T) {
	if goruntime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	n := start(t, settings{kubelet: "cpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\ncpuManagerReconcilePeriod: 1s\n"})
	shared := n.run(t, "shared", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
`)
	shared.ready()
	all := shared.shell("c", cpus)
	exclusive := n.run(t, "exclusive", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"], resources: {limits: {cpu: "1", memory: 32Mi}, requests: {cpu: "1", memory: 32Mi}}}
`)
	exclusive.ready()
	own := exclusive.shell("c", cpus)
	if _, err := strconv.Atoi(own); err != nil || own == "0" {
		t.Errorf("the container has CPUs %s, want one that is not reserved", own)
	}
	eventually(t, "the others to have what is left", func() error {
		if left := shared.shell("c", cpus); left == all || slices.Contains(strings.FieldsFunc(left, func(r rune) bool { return r == ',' || r == '-' }), own) {
			return fmt.Errorf("they have %s of %s", left, all)
		}
		return nil
	})
	exclusive.remove()
	shared.shows("c", cpus, all)
}
