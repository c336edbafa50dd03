package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/siflet/siflet/cmd/internal/health"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/linux"
)

// agent asks the agent what a kubelet asks it.
func (m *Machine) agent(ctx context.Context) {
	const check, start = "agent", "start it: systemctl start siflet-agent, or siflet agent"
	path := strings.TrimPrefix(m.config.Listen, "unix://")
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && m.held():
		m.problem(check, "start it again, pods go on: systemctl restart siflet-agent", "one runs, but its socket %s is gone", path)
		return
	case errors.Is(err, fs.ErrPermission):
		m.ok(check, "there is one at %s, for root alone", m.config.Listen)
		return
	case errors.Is(err, fs.ErrNotExist) && !linux.IsRoot():
		m.ok(check, "none runs; your own commands need none")
		return
	case err != nil:
		m.warn(check, start, "none serves %s: %v", m.config.Listen, err)
		return
	}
	_ = conn.Close() // it was to find out whether somebody is there
	state, err := ask(ctx, m.config.Listen)
	if err != nil {
		m.problem(check, "look at its log: journalctl -u siflet-agent", "it does not answer at %s: %v", m.config.Listen, err)
		return
	}
	m.ok(check, "%s %s serves %s", state.Runtime, state.Version, m.config.Listen)
	for _, c := range state.Conditions {
		if c.OK {
			m.ok(c.Type, "so says the agent")
			continue
		}
		m.problem(c.Type, "look at its log: journalctl -u siflet-agent", "%s: %s", c.Reason, c.Message)
	}
}

// held says that a process has the agent's lock.
func (m *Machine) held() bool {
	f, err := os.OpenFile(m.config.StateDir+"/lock", os.O_RDWR, 0)
	if errors.Is(err, linux.EROFS) {
		f, err = os.Open(m.config.StateDir + "/lock")
	}
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // which gives the lock back
	free, err := linux.TryLock(f)
	return err == nil && !free
}

// ask has siflet-agent do it, which speaks the protocol.
func ask(ctx context.Context, listen string) (health.Agent, error) {
	program, err := setup.Program("", "siflet-agent")
	if err != nil {
		return health.Agent{}, err
	}
	const patience = 20 * time.Second // the agent itself gets less
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "agent", "status", "--json", "--listen", listen)
	cmd.Stdout, cmd.Stderr = &said, &complaint
	runErr := cmd.Run()
	var a health.Agent
	if err := json.Unmarshal(said.Bytes(), &a); err == nil {
		return a, nil // its status says whether it is ready, and so do its words
	}
	return a, errors.Join(errors.New(strings.TrimPrefix(strings.TrimSpace(complaint.String()), "FATAL:   ")), runErr)
}
