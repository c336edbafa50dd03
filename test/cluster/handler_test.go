package cluster_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// class is a RuntimeClass and a pod of it.
const class = `---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: CLASS}
handler: CLASS
---
apiVersion: v1
kind: Pod
metadata: {name: CLASS, labels: {app: handled}}
spec:
  runtimeClassName: CLASS
  nodeName: node2
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: IMAGES/v1.sif
    readinessProbe: {exec: {command: [wget, -q, -O, "-", "http://127.0.0.1:8080/"]}, periodSeconds: 1}
`

func TestRuntimeClassesNameHandlers(t *testing.T) {
	n := site.nodes[1]
	site.apply(t, replace(class, "CLASS", "siflet")+replace(class, "CLASS", "crun")+replace(class, "CLASS", "offline"))
	site.readyPods(t, "handled", 3)
	for pod, want := range map[string]string{"siflet": "eth0 lo", "crun": "eth0 lo", "offline": "lo"} {
		text, err := site.shell(pod, "echo $(ls /sys/class/net)")
		if err != nil || text != want {
			t.Errorf("%s has the links %q, %v; want %s", pod, text, err, want)
		}
	}
	ran, err := filepath.Glob(n.dir + "/run/instances/*/oci/state/*")
	if err != nil || len(ran) != 1 {
		t.Errorf("crun has %v, %v; want one container", ran, err)
	}
	o, err := site.object("/api/v1/nodes/" + n.name)
	must(t, err)
	var names []string
	for _, h := range o.Status.RuntimeHandlers {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	if want := []string{"", "crun", "offline", "siflet"}; !slices.Equal(names, want) {
		t.Errorf("the node says that it has the handlers %q, want %q", names, want)
	}
}

func TestAHandlerThatIsNotThereIsRefused(t *testing.T) {
	site.apply(t, replace(class, "CLASS", "nobody"))
	eventually(t, "the refusal", func() error {
		text, err := site.try("", "get", "events", "-o", "jsonpath={.items[?(@.involvedObject.name=='nobody')].message}")
		for _, want := range []string{"nobody", "crun", "offline"} {
			if err == nil && !strings.Contains(text, want) {
				err = fmt.Errorf("%q lacks %s", text, want)
			}
		}
		return err
	})
}
