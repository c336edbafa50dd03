package doctor

import (
	"strings"
	"testing"
)

func TestAKubeletsSettingsAreComparedWithTheAgents(t *testing.T) {
	const listen = "unix:///run/siflet/siflet.sock"
	for name, c := range map[string]struct {
		config, line, driver string
		version              int
		want                 []string // a word of each finding
	}{
		"as it should be": {"containerRuntimeEndpoint: unix:///run/siflet/siflet.sock\ncgroupDriver: systemd\n", "/usr/bin/kubelet --v=2", "systemd", 2, nil},
		"old words":       {"containerRuntimeEndpoint: unix:///var/run/siflet/siflet.sock\n", "", "cgroupfs", 2, nil},
		"a bare path":     {"containerRuntimeEndpoint: /run/siflet/siflet.sock\n", "", "systemd", 2, nil},
		"nothing said":    {"", "", "systemd", 2, []string{"containerd.sock"}},
		"another runtime": {"containerRuntimeEndpoint: unix:///run/crio/crio.sock\n", "", "systemd", 2, []string{"crio.sock"}},
		"flags go before": {
			"containerRuntimeEndpoint: unix:///run/crio/crio.sock\ncgroupDriver: cgroupfs\n",
			`KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/siflet/siflet.sock --cgroup-driver systemd"`, "systemd", 2, nil,
		},
		"another driver":   {"containerRuntimeEndpoint: " + listen + "\ncgroupDriver: cgroupfs\n", "", "systemd", 2, []string{"cgroupDriver: systemd"}},
		"cgroup v1":        {"containerRuntimeEndpoint: " + listen + "\n", "", "cgroupfs", 1, []string{"failCgroupV1: false"}},
		"cgroup v1, taken": {"containerRuntimeEndpoint: " + listen + "\nfailCgroupV1: false\n", "", "cgroupfs", 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := readKubelet([]byte(c.config), flagsOf(c.line))
			if err != nil {
				t.Fatal(err)
			}
			found := k.judge("config.yaml", listen, c.driver, c.version)
			if len(found) != len(c.want) {
				t.Fatalf("findings = %+v, want %d", found, len(c.want))
			}
			for i, f := range found {
				if f.Level != Warning || !strings.Contains(f.Text+f.Next, c.want[i]) || f.Next == "" {
					t.Errorf("finding = %+v, want a warning with %q", f, c.want[i])
				}
			}
		})
	}
	if _, err := readKubelet([]byte("a: [b"), nil); err == nil {
		t.Error("what is no YAML is taken for settings")
	}
}
