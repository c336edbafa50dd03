package kubelet_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestPodsOfTheHostsNamespaces(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "host", `
hostNetwork: true
hostPID: true
hostIPC: true
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
`)
	p.ready()
	for _, ns := range []string{"net", "pid", "ipc"} {
		want, err := os.Readlink("/proc/self/ns/" + ns)
		must(t, err)
		p.writes("c", map[string]string{"readlink /proc/self/ns/" + ns: want})
	}
	p.writes("c", map[string]string{
		"tr '\\0' '\\n' </proc/" + strconv.Itoa(quiet.agent.Process.Pid) + "/cmdline | grep -c cni-conf-dir": "1",
	})
}

func TestPodsHaveNamespacesOfTheirOwnAndMayShareThem(t *testing.T) {
	t.Parallel()
	apart := quiet.run(t, "apart", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1000"]}
- {name: d, image: IMAGE, command: [sleep, "1000"]}
`)
	together := quiet.run(t, "together", `
shareProcessNamespace: true
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sleep, "1234"]}
- {name: d, image: IMAGE, command: [sleep, "1000"]}
`)
	apart.ready()
	together.ready()
	for _, ns := range []string{"net", "ipc", "uts"} {
		host, err := os.Readlink("/proc/self/ns/" + ns)
		must(t, err)
		one, two := apart.shell("c", "readlink /proc/self/ns/"+ns), apart.shell("d", "readlink /proc/self/ns/"+ns)
		if one != two || one == host {
			t.Errorf("%s namespaces are %s and %s, the node's %s; want one of the pod's", ns, one, two, host)
		}
	}
	apart.writes("d", map[string]string{"cat /proc/1/cmdline | tr '\\0' ' '": "sleep 1000 "})
	together.writes("d", map[string]string{
		"for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done | grep -c '^sleep 1234'": "1",
	})
	together.shell("d", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^sleep 1234' && kill -9 ${p#/proc/}; done; true")
	together.until("to have its container again", func(s *podState) bool { return s.container("c").RestartCount == 1 })
}

func TestHostPortsLeadToThePod(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "ports", `
terminationGracePeriodSeconds: 0
containers:
- name: c
  image: IMAGE
  command: [sh, -c, "mkdir /www; echo by host port >/www/index.html; exec httpd -f -p 8080 -h /www"]
  ports: [{containerPort: 8080, hostPort: 18080}, {containerPort: 8080, hostPort: 18081, hostIP: 127.0.0.1}]
  readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`)
	p.ready()
	fetch := func(at string) (string, error) {
		request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+at+"/", http.NoBody)
		if err != nil {
			return "", err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return strings.TrimSpace(string(text)), err
	}
	for _, at := range []string{address + ":18080", "127.0.0.1:18080", "127.0.0.1:18081"} {
		if text, err := fetch(at); err != nil || text != "by host port" {
			t.Errorf("%s has %q, %v; want by host port", at, text, err)
		}
	}
	p.remove()
	eventually(t, "the port to be closed", func() error {
		if text, err := fetch(address + ":18080"); err == nil {
			return fmt.Errorf("it answers %q", text)
		}
		return nil
	})
	if _, err := fetch("127.0.0.1:18081"); err == nil {
		t.Error("127.0.0.1:18081 answers after the pod")
	}
}
