package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCNIPluginThatHangsIsKilledInTime(t *testing.T) {
	if !isolate(t) {
		return
	}
	m := withPlugins(t)
	pids := filepath.Join(m.dir, "pids")
	// The child keeps the plugin's output open.
	m.plugin("hang", fmt.Sprintf(`[ "$CNI_COMMAND" = ADD ] || exit 0; sleep 1000 & echo $! $$ >%s; wait`, pids))
	m.configure("10-pods.conflist", `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "hang"}]}`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := m.Attach(ctx, m.request("a"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Attach() = %v, want deadline exceeded", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Attach took %v after a deadline of 300 ms", took)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(data)) {
		eventually(t, "process "+pid+" to end", func() bool {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

func TestCleaningUpAfterAPluginTakesNoLongerThanPluginsMay(t *testing.T) {
	if !isolate(t) {
		return
	}
	bin := t.TempDir()
	m := newMachine(t, func(c *Config) { c.CNIBinDirs, c.CNITimeout = []string{bin}, time.Second })
	m.plugin("hang", "sleep 1000")
	m.configure("10-pods.conflist", `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "hang"}]}`)
	start := time.Now()
	if _, err := m.Attach(t.Context(), m.request("a")); err == nil || !strings.Contains(err.Error(), "clean up") {
		t.Errorf("Attach() = %v, want that cleaning up did not work", err)
	}
	if took := time.Since(start); took > undoTime/2 {
		t.Errorf("Attach took %v with 1 s for each command", took)
	}
}
