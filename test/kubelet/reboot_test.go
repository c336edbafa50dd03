package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/siflet/siflet/test/kubetest"
)

// powerOff ends all processes of the node and takes away what is in memory alone:
// cgroups, mounts, namespaces, the network and run files.
func (n *node) powerOff() error {
	err := errors.Join(kubetest.Stop(n.kubelet, syscall.SIGKILL), n.conn.Close(), kubetest.Stop(n.agent, syscall.SIGKILL))
	err = errors.Join(err, wait(func() error { return kubetest.KillCgroup(n.cgroup) }), kubetest.RemoveCgroup(n.cgroup), n.unmountAll())
	instances, failed := os.ReadDir(n.dir + "/state/instances")
	err = errors.Join(err, failed)
	for _, i := range instances {
		pin := "/run/netns/siflet-" + i.Name()
		if _, failed := os.Stat(pin); failed == nil {
			err = errors.Join(err, syscall.Unmount(pin, syscall.MNT_DETACH), os.Remove(pin))
		}
	}
	bridge := "siflet" + strconv.Itoa(n.number)
	if link, failed := netlink.LinkByName(bridge); failed == nil {
		err = errors.Join(err, netlink.LinkDel(link))
	}
	rules, failed := nftables.New()
	if failed != nil {
		return errors.Join(err, failed)
	}
	tables, failed := rules.ListTables()
	for _, table := range tables {
		if strings.HasSuffix(table.Name, bridge) {
			rules.DelTable(table)
		}
	}
	return errors.Join(err, failed, rules.Flush(), os.RemoveAll(n.dir+"/run"))
}

// unmountAll takes away what the kubelet has mounted for pods.
func (n *node) unmountAll() error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, n.dir+"/kubelet/") {
			points = append(points, point)
		}
	}
	for _, point := range slices.Backward(points) {
		err = errors.Join(err, syscall.Unmount(point, 0))
	}
	return err
}

// powerOn starts the node with another boot ID.
func (n *node) powerOn(t *testing.T) error {
	t.Helper()
	kubetest.AnotherBoot(t)
	return errors.Join(kubetest.MakeCgroup(n.cgroup), n.startAgent(), n.startKubelet())
}

// A pod that is to run runs again, in another sandbox, after its init containers; one that
// has done what it was for does not; and nothing of what was before is kept for ever.
func TestPodsComeBackAfterAReboot(t *testing.T) {
	n := start(t, settings{})
	dir, entries := diary(t)
	const volumes = `
volumes:
- {name: diary, hostPath: {path: DIARY}}
- {name: memory, emptyDir: {medium: Memory}}
`
	spec := func(policy, name, command string) string {
		return replace(`
restartPolicy: POLICY
initContainers:
- {name: i, image: IMAGE, command: [sh, -c, "echo NAME-init >>/diary/log"], volumeMounts: [{name: diary, mountPath: /diary}]}
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "[ -e /written -o -e /memory/written ] && exit 9; touch /written /memory/written; echo NAME >>/diary/log; COMMAND"]
  volumeMounts: [{name: diary, mountPath: /diary}, {name: memory, mountPath: /memory}]`+volumes,
			"POLICY", policy, "NAME", name, "COMMAND", command, "DIARY", dir)
	}
	const stays = "trap exit TERM; while :; do sleep 0.1; done"
	always := n.run(t, "always", spec("Always", "always", stays))
	onFailure := n.run(t, "onfailure", spec("OnFailure", "onfailure", stays))
	never := n.run(t, "never", spec("Never", "never", stays))
	done := map[string]*pod{
		"Succeeded": n.run(t, "done", spec("Never", "done", "exit 0")),
		"Failed":    n.run(t, "broken", spec("Never", "broken", "exit 7")),
	}
	was := map[string]containerState{}
	for phase, p := range done {
		was[phase] = p.phase(phase).container("c")
	}
	address := always.ready().Status.PodIP
	onFailure.ready()
	never.ready()
	ran := func(want map[string]int) { // a container is ready before it has written
		t.Helper()
		eventually(t, "what ran to be told", func() error {
			count := map[string]int{}
			for name := range strings.FieldsSeq(entries()) {
				count[name]++
			}
			if !maps.Equal(count, want) {
				return fmt.Errorf("there ran %v, want %v", count, want)
			}
			return nil
		})
	}
	ran(map[string]int{"always": 1, "always-init": 1, "onfailure": 1, "onfailure-init": 1, "never": 1, "never-init": 1, "done": 1, "done-init": 1, "broken": 1, "broken-init": 1})

	must(t, n.powerOff())
	must(t, n.powerOn(t))

	for _, p := range []*pod{always, onFailure} {
		s := p.until("to be back", func(s *podState) bool { return s.container("c").RestartCount == 1 && s.ready() })
		if last := s.container("c").LastState.Terminated; last == nil || last.ExitCode != 255 || last.Reason != "Unknown" || last.FinishedAt.Before(last.StartedAt) {
			t.Errorf("%s: last state = %+v, want code 255, Unknown", p.name, last)
		}
	}
	if got := always.ready().Status.PodIP; got == "" {
		t.Errorf("address = %q after %q, want one", got, address)
	}
	if e := never.phase("Failed").container("c").State.Terminated; e == nil || e.ExitCode != 255 {
		t.Errorf("a pod that is never started again is %+v, want it ended with code 255", e)
	}
	for phase, p := range done {
		is := p.phase(phase).container("c")
		if w := was[phase]; is.ContainerID != w.ContainerID || is.RestartCount != 0 || is.State.Terminated == nil || *is.State.Terminated != *w.State.Terminated {
			t.Errorf("%s: %+v, want what it was, %+v", p.name, is, w)
		}
	}
	ran(map[string]int{"always": 2, "always-init": 2, "onfailure": 2, "onfailure-init": 2, "never": 1, "never-init": 1, "done": 1, "done-init": 1, "broken": 1, "broken-init": 1})
	for _, p := range append([]*pod{always, onFailure, never}, done["Succeeded"], done["Failed"]) {
		p.remove()
	}
	eventually(t, "the kubelet to have removed all that the pods were", func() error {
		left, err := filepath.Glob(n.dir + "/state/instances/*")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left are %v", left)
		}
		return errors.Join(err, context.Cause(t.Context()))
	})
}
