package cluster_test

import (
	"fmt"
	"testing"
)

// job wants 200 runs; the first try of every tenth fails.
const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  completions: 200
  parallelism: PARALLEL
  completionMode: Indexed
  backoffLimitPerIndex: 3
  template:
    metadata: {labels: {app: work}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - name: work
        image: IMAGES/v1.sif
        command: [sh, -c, "echo run $JOB_COMPLETION_INDEX; set -C; case $JOB_COMPLETION_INDEX in *7) echo >/tried/$JOB_COMPLETION_INDEX || exit 0; exit 3;; esac"]
        volumeMounts: [{name: tried, mountPath: /tried}]
      volumes: [{name: tried, hostPath: {path: TRIED}}]
`

func TestAJobCompletes200Times(t *testing.T) {
	site.apply(t, replace(job, "TRIED", t.TempDir(), "PARALLEL", "20"))
	site.completed(t)
	o, err := site.object("/apis/batch/v1/namespaces/default/jobs/work")
	if err != nil || o.Status.Failed != 20 {
		t.Errorf("%d runs have failed, %v; want one of every ten", o.Status.Failed, err)
	}
	pods, err := site.pods("work")
	must(t, err)
	ended := map[int]int{}
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			if c.State.Terminated != nil {
				ended[c.State.Terminated.ExitCode]++
			}
		}
	}
	if ended[0] != 200 || ended[3] != 20 || len(ended) != 2 {
		t.Errorf("exit codes and how often: %v, want 200 times 0 and 20 times 3", ended)
	}
	text := site.kubectl(t, "logs", "--tail=-1", "-l", "app=work,batch.kubernetes.io/job-completion-index=199")
	if text != "run 199\n" {
		t.Errorf("the last one's log is %q", text)
	}
}

// completed waits until the Job has got what it wants.
func (c *cluster) completed(t *testing.T) {
	t.Helper()
	eventually(t, "200 runs", func() error {
		o, err := c.object("/apis/batch/v1/namespaces/default/jobs/work")
		if err == nil && (o.Status.Succeeded != 200 || !o.has("Complete", "True")) {
			err = fmt.Errorf("%d are done, %d failed, %d go on", o.Status.Succeeded, o.Status.Failed, o.Status.Active)
		}
		return err
	})
}
