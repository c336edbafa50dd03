// Package doctor finds out whether siflet can work on this machine, and says what to do
// where it can't. Most of it is found by doing: file systems are mounted where nobody sees
// it, a loop device is opened, a cgroup is made and taken away again.
//
// It changes nothing that lasts. What it makes for a moment it makes in the directories that
// siflet works in, and below the cgroup /siflet-doctor.
package doctor

import (
	"context"
	"fmt"

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cmd/internal/site"
	"github.com/siflet/siflet/runtime/linux"
)

// Level is how bad a finding is.
type Level string

// The levels. A Warning is what works, but not as it might, or what not everybody needs.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

// Finding is what was found about one thing.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	// Next is what to do about it.
	Next string `json:"next,omitempty"`
}

// Machine is what is looked at.
type Machine struct {
	// ConfigFile is the agent's; empty is where it is by default. StateDir and RunDir, if
	// they are not empty, go before what it says.
	ConfigFile, StateDir, RunDir string
	// Home and HomeRun are where the caller's own images and instances are.
	Home, HomeRun string

	config   *config.Config
	findings []Finding
}

// Examine looks at everything, in an order in which the causes come before what they cause.
func (m *Machine) Examine(ctx context.Context) []Finding {
	m.findings = nil
	m.programs()
	m.configuration()
	m.siteConfiguration()
	m.kernel()
	if linux.IsRoot() {
		m.nodeFiles(ctx)
	} else {
		m.userFiles(ctx)
	}
	m.cgroups(ctx)
	m.network(ctx)
	m.disks()
	m.clock()
	m.agent(ctx)
	return m.findings
}

func (m *Machine) ok(check, format string, args ...any) {
	m.findings = append(m.findings, Finding{check, OK, fmt.Sprintf(format, args...), ""})
}

func (m *Machine) warn(check, next, format string, args ...any) {
	m.findings = append(m.findings, Finding{check, Warning, fmt.Sprintf(format, args...), next})
}

func (m *Machine) problem(check, next, format string, args ...any) {
	m.findings = append(m.findings, Finding{check, Problem, fmt.Sprintf(format, args...), next})
}

// judge is ok, or else a finding of a level with what err says.
func (m *Machine) judge(level Level, check, next, fine string, err error) {
	if err == nil {
		m.ok(check, "%s", fine)
		return
	}
	m.findings = append(m.findings, Finding{check, level, err.Error(), next})
}

// ours is a problem of a node's for root, and a warning to others, who may not need it.
func ours() Level {
	if linux.IsRoot() {
		return Problem
	}
	return Warning
}

// theirs is a problem of those who are not root, and a warning to root, who does not need it.
func theirs() Level {
	if linux.IsRoot() {
		return Warning
	}
	return Problem
}

// siteConfiguration is what is wrong with the file that tells what people may do: no image
// runs then.
func (m *Machine) siteConfiguration() {
	const check = "people's containers"
	switch c, err := site.Read(site.Path); {
	case err != nil:
		m.problem(check, "", "%v", err)
	case !c.AllowUserNs && !linux.IsRoot():
		m.problem(check, "ask the administrator of this machine", "%s lets root alone run images (allow user ns = no)", site.Path)
	}
}

// configuration reads the agent's, or its defaults where there is something wrong with it.
func (m *Machine) configuration() {
	const check = "configuration"
	wrong, idle := config.Check(m.ConfigFile)
	for _, p := range wrong {
		m.problem(check, "mend it, then: siflet config check", "%s", p)
	}
	for _, p := range idle {
		m.warn(check, "", "%s", p)
	}
	c, err := config.Load(m.ConfigFile, nil)
	if err != nil {
		c = config.Defaults()
		c.Listen = "unix://" + c.RunDir + "/siflet.sock"
	}
	if m.StateDir != "" {
		c.StateDir = m.StateDir
	}
	if m.RunDir != "" {
		if c.Listen == "unix://"+c.RunDir+"/siflet.sock" {
			c.Listen = "unix://" + m.RunDir + "/siflet.sock"
		}
		c.RunDir = m.RunDir
	}
	m.config = c
	switch {
	case len(wrong)+len(idle) > 0:
	case config.Missing(m.ConfigFile):
		m.ok(check, "the defaults: there is no %s", config.File)
	default:
		m.ok(check, "%s", config.Name(m.ConfigFile))
	}
}
