package nri

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
)

// meter hears from the library how many plugins there are, and who answered what: its
// errors do not say that.
type meter struct{ r *Relay }

// answers are those to what plugins were told last.
type answers struct {
	mu      sync.Mutex
	failed  string // the plugin whose error is err
	err     error
	changed []string // the plugins that asked for changes of a container
}

// RecordPluginInvocation notes who failed.
func (m meter) RecordPluginInvocation(plugin, _ string, err error) {
	if err == nil {
		return
	}
	a := &m.r.last
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.err = plugin, err
}

// RecordPluginLatency has nothing to do.
func (meter) RecordPluginLatency(string, string, time.Duration) {}

// RecordPluginAdjustments notes who wants changes.
func (m meter) RecordPluginAdjustments(plugin, _ string, adjust *adaptation.ContainerAdjustment, updates, _ int) {
	if adjust == nil && updates == 0 {
		return
	}
	a := &m.r.last
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = append(a.changed, plugin)
}

// UpdatePluginCount notes it.
func (m meter) UpdatePluginCount(count int) {
	if old := m.r.plugins.Swap(int32(count)); old != int32(count) { //nolint:gosec // a handful
		m.r.log.Info("NRI plugins are connected", "count", count)
	}
}

// forget begins anew. The caller has the turn.
func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.err, a.changed = "", nil, nil
}

// wanted names the plugins that asked for changes.
func (a *answers) wanted() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.changed, ", ")
}

// refusal names the plugin that an error of the library's is of, where the error does
// not do so itself.
func (a *answers) refusal(err error) error {
	if err == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil || !errors.Is(err, a.err) {
		return fmt.Errorf("NRI: %w", err)
	}
	if inner := errors.Unwrap(err); inner != nil && errors.Is(inner, a.err) {
		return fmt.Errorf("NRI: %w", err) // it says "plugin NAME failed"
	}
	return fmt.Errorf("NRI plugin %s: %w", a.failed, err)
}
