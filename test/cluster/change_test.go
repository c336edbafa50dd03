package cluster_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

const changed = `
apiVersion: v1
kind: ConfigMap
metadata: {name: changed}
data: {text: first}
---
apiVersion: v1
kind: Secret
metadata: {name: changed}
stringData: {word: hidden}
---
apiVersion: v1
kind: Pod
metadata: {name: changed, labels: {app: changed}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: IMAGES/v1.sif
    command: [sleep, "71000777"]
    env: [{name: WORD, valueFrom: {secretKeyRef: {name: changed, key: word}}}]
    resources: {requests: {cpu: 50m, memory: 48Mi}, limits: {cpu: 100m, memory: 48Mi}}
    volumeMounts: [{name: map, mountPath: /map}, {name: secret, mountPath: /secret}]
  volumes:
  - {name: map, configMap: {name: changed}}
  - {name: secret, secret: {secretName: changed, defaultMode: 256}}
`

// TestAPodIsChangedWhileItRuns by new limits, a container to look into it with and a new
// ConfigMap; its container is the same all the time.
func TestAPodIsChangedWhileItRuns(t *testing.T) {
	site.apply(t, changed)
	before := site.readyPods(t, "changed", 1)[0].Status.ContainerStatuses[0]
	says := func(want, command string) func() error {
		return func() error {
			text, err := site.try("", "exec", "changed", "-c", "main", "--", "sh", "-c", command)
			if text = strings.TrimSpace(text); err == nil && text != want {
				err = fmt.Errorf("%s: %q, want %q", command, text, want)
			}
			return err
		}
	}
	must(t, says("first hidden hidden 400", `echo $(cat /map/text) $WORD $(cat /secret/word) $(stat -Lc %a /secret/word)`)())
	// By whichever version of cgroups there is.
	const limit = "cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
	must(t, says(strconv.Itoa(48<<20), "("+limit+") 2>/dev/null")())

	site.kubectl(t, "patch", "pod", "changed", "--subresource", "resize", "--patch",
		`{"spec": {"containers": [{"name": "main", "resources": {"requests": {"memory": "80Mi"}, "limits": {"cpu": "200m", "memory": "80Mi"}}}]}}`)
	eventually(t, "the new limit", says(strconv.Itoa(80<<20), "("+limit+") 2>/dev/null"))
	eventually(t, "the new limit in the pod's status", func() error {
		text, err := site.try("", "get", "pod", "changed", "-o", "jsonpath={.status.containerStatuses[0].resources.limits.memory}")
		if err == nil && text != "80Mi" {
			err = fmt.Errorf("it is %q", text)
		}
		return err
	})

	site.kubectl(t, "debug", "changed", "--container", "look", "--target", "main", "--image", "local.file"+images+"/v1.sif", "--attach=false", "--profile=general",
		"--", "sh", "-c", "ps -o args; sleep 71000778")
	eventually(t, "the other container to see the processes of the first", func() error {
		text, err := site.try("", "logs", "changed", "-c", "look")
		if err == nil && !strings.Contains(text, "sleep 71000777") {
			err = fmt.Errorf("it sees %q", text)
		}
		return err
	})

	site.kubectl(t, "patch", "configmap", "changed", "--patch", `{"data": {"text": "second"}}`)
	eventually(t, "the new text", says("second", "cat /map/text"))
	if is := site.readyPods(t, "changed", 1)[0].Status.ContainerStatuses[0]; is.ContainerID != before.ContainerID || is.RestartCount != 0 {
		t.Errorf("the container is %+v, was %+v", is, before)
	}
}
