package doctor

import (
	"errors"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// clock is to be right: certificates, signatures and credentials end.
func (m *Machine) clock() {
	m.findings = append(m.findings, judgeClock(time.Now(), keptClock))
}

func keptClock() error {
	kept, err := linux.ClockKept()
	if err == nil && !kept {
		err = errors.New("nobody keeps it right: the kernel says that it is not synchronised")
	}
	return err
}

func judgeClock(now time.Time, kept func() error) Finding {
	const check, first, last = "clock", 2025, 2100 // no siflet is older, and none will be that old
	const next = "run a time service: chrony, or systemd-timesyncd"
	said := now.UTC().Format(time.RFC3339)
	if year := now.UTC().Year(); year < first || year > last {
		return Finding{check, Problem, "it says " + said + ", which can't be: no certificate would be good", "set it, and " + next}
	}
	if err := kept(); err != nil {
		return Finding{check, Warning, said + ": " + err.Error(), next}
	}
	return Finding{check, OK, said + ", synchronised", ""}
}
