package cri_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAnIdleStreamEndsWithAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("stream_idle_timeout = \"1s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := start(t, "--config", file)
	pod, p := a.hostPod("p")
	config := containerConfig("c", busybox(t), "sleep", "1000")
	config.Stdin = true
	id := a.launch(pod, config, p)
	a.listen(pod, "server", 8089, p, "nc", "-ll", "-p", "8089", "-e", "/bin/cat")
	attach := func() string {
		made, err := a.Attach(within(t), &criapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true})
		if err != nil {
			t.Fatal(err)
		}
		return made.Url
	}
	a.keepsNothing(pod, func() {
		for name, dial := range dialers() {
			for kind, url := range map[string]string{
				"exec":     a.execURL(id, true, false, "sh", "-c", "cat; : 7011"),
				"terminal": a.execURL(id, true, true, "sh", "-c", "sleep 7012"),
				"attach":   attach(),
			} {
				c := dial(t, url, true, kind == "terminal")
				_, _ = io.ReadAll(c.out) // until the stream ends
				if v := c.verdict(); !strings.Contains(v, "idle for 1s") {
					t.Errorf("%s %s: verdict %q, want that it was idle", name, kind, v)
				}
				c.close()
			}
		}
		conn, data := a.forwarded(pod, 8089)
		_, _ = io.ReadAll(data)
		_ = conn.Close()
		eventually(t, "the commands to end", func() bool { return !a.runs(id, "701") })
	})
	for kind, want := range map[string]int{"exec": 4, "attach": 2, "portforward": 1} {
		line := `"stream ended for idleness" kind=` + kind
		eventually(t, line, func() bool { return strings.Count(a.log.String(), line) >= want })
		if got := strings.Count(a.log.String(), line); got != want {
			t.Errorf("%d lines of the log tell of an idle %s, want %d", got, kind, want)
		}
	}
	if log := a.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log has an error of the agent's:\n%s", log)
	}
}
