package cluster_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// web is one server on every node.
const web = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: IMAGES/v1.sif
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        lifecycle: {postStart: {exec: {command: [sh, -c, "echo $POD >/srv/www/name"]}}}
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
`

func TestPodsOfDifferentNodesTalk(t *testing.T) {
	site.apply(t, web)
	pods := site.readyPods(t, "web", 2)
	for i := range pods {
		from, to := &pods[i], &pods[1-i]
		if from.Spec.NodeName == to.Spec.NodeName {
			t.Fatalf("both are on %s", to.Spec.NodeName)
		}
		text, err := site.shell(from.Metadata.Name, "wget -q -O - http://"+to.Status.PodIP+":8080/name")
		if err != nil || text != to.Metadata.Name {
			t.Errorf("%s on %s hears %q, %v; want %s", from.Metadata.Name, from.Spec.NodeName, text, err, to.Metadata.Name)
		}
	}
}

func TestAServiceAnswersFromBothNodes(t *testing.T) {
	site.apply(t, web+`---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`)
	pods := site.readyPods(t, "web", 2)
	s, err := site.object("/api/v1/namespaces/default/services/web")
	must(t, err)
	for i := range pods {
		p := &pods[i]
		// From a pod, from its node and at the node's port: each must come to both pods.
		for what, ask := range map[string]func() (string, error){
			"pod": func() (string, error) {
				return site.shell(p.Metadata.Name, "timeout 5 wget -q -O - http://"+s.Spec.ClusterIP+"/name")
			},
			"node": func() (string, error) { return fetch(p.Spec.NodeName, s.Spec.ClusterIP+"/name") },
			"port": func() (string, error) {
				return fetch(p.Spec.NodeName, fmt.Sprintf("192.0.2.1%s:%d/name", strings.TrimPrefix(p.Spec.NodeName, "node"), s.Spec.Ports[0].NodePort))
			},
		} {
			heard := map[string]bool{}
			eventually(t, "both pods to answer "+what+" on "+p.Spec.NodeName, func() error {
				text, err := ask()
				if err == nil {
					heard[text] = true
				}
				if !heard[pods[0].Metadata.Name] || !heard[pods[1].Metadata.Name] {
					return errors.Join(fmt.Errorf("heard of %v", heard), err)
				}
				return nil
			})
		}
	}
}

// fetch asks for a page on a node.
func fetch(node, url string) (string, error) {
	text, err := exec.Command("nsenter", "--net=/run/netns/"+node, "curl", "-sSf", "-m", "5", "http://"+url).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return strings.TrimSpace(string(text)), err
}
