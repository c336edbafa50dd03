// Package systemd makes and ends scopes and slices of the systemd that runs the
// machine, over D-Bus. It writes no file, and knows nothing of what they are for.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/siflet/siflet/cgroups"
)

// Running says whether systemd runs this machine.
func Running() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Manager is cgroups.Units. It is safe for concurrent use. Its connection ends with the
// process.
type Manager struct {
	holder []string

	mu   sync.Mutex
	conn *systemd.Conn
}

// New connects to systemd. The command holder must wait, doing nothing, until its
// standard input ends.
func New(ctx context.Context, holder ...string) (*Manager, error) {
	if !Running() {
		return nil, errors.New("systemd does not run this machine")
	}
	m := &Manager{holder: holder}
	if _, err := m.connection(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// connection is made anew when it is lost, as when systemd or the bus starts again.
func (m *Manager) connection(ctx context.Context) (*systemd.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
	// The context is the connection's for life, not that of the call.
	conn, err := systemd.NewWithContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	m.conn = conn
	return conn, nil
}

// call is made once more when the connection turns out to be lost.
func (m *Manager) call(ctx context.Context, do func(*systemd.Conn) error) error {
	for attempt := 0; ; attempt++ {
		conn, err := m.connection(ctx)
		if err == nil {
			err = do(conn)
		}
		if err == nil || attempt > 0 || !errors.Is(err, dbus.ErrClosed) {
			return err
		}
	}
}

// job starts a job and waits for its end.
func (m *Manager) job(ctx context.Context, start func(*systemd.Conn, chan<- string) error) error {
	return m.call(ctx, func(conn *systemd.Conn) error {
		// With room for the answer, for nobody may be waiting by then.
		done := make(chan string, 1)
		if err := start(conn, done); err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return fmt.Errorf("systemd says %q of the job", result)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// bounded is a context for what systemd may take: it is slow when the machine is.
func bounded() (context.Context, context.CancelFunc) {
	const longest = 30 * time.Second
	return context.WithTimeout(context.Background(), longest)
}

// StartSlice is of cgroups.Units.
func (m *Manager) StartSlice(name string) error {
	ctx, cancel := bounded()
	defer cancel()
	err := m.job(ctx, func(conn *systemd.Conn, done chan<- string) error {
		_, err := conn.StartTransientUnitContext(ctx, name, "replace", []systemd.Property{
			systemd.PropDescription("instances of siflet"), property("CollectMode", "inactive-or-failed"),
		}, done)
		return err
	})
	if is(err, unitExists) {
		return nil
	}
	return err
}

// StartScope is of cgroups.Units.
func (m *Manager) StartScope(name, slice string) (pid int, release func(), err error) {
	pid, release, err = hold(m.holder)
	if err != nil {
		return 0, nil, fmt.Errorf("start the process that holds a scope: %w", err)
	}
	ctx, cancel := bounded()
	defer cancel()
	err = m.job(ctx, func(conn *systemd.Conn, done chan<- string) error {
		_, err := conn.StartTransientUnitContext(ctx, name, "fail", []systemd.Property{
			systemd.PropDescription("siflet instance"),
			systemd.PropSlice(slice),
			systemd.PropPids(uint32(pid)),
			property("Delegate", true),
			property("DefaultDependencies", false), // pods are the kubelet's to end at a shutdown
			property("CollectMode", "inactive-or-failed"),
			property("TasksMax", uint64(unlimited)), // else a share of what the machine can have
			property("TimeoutStopUSec", uint64(stopTime.Microseconds())),
		}, done)
		return err
	})
	if err == nil {
		return pid, release, nil
	}
	release()
	if is(err, unitExists) {
		err = fmt.Errorf("%w: %w", cgroups.ErrExists, err)
	}
	return 0, nil, err
}

// Limit is of cgroups.Units.
func (m *Manager) Limit(unit string, files map[string]string) error {
	properties, err := properties(files)
	if err != nil || len(properties) == 0 {
		return err
	}
	ctx, cancel := bounded()
	defer cancel()
	return m.call(ctx, func(conn *systemd.Conn) error {
		return conn.SetUnitPropertiesContext(ctx, unit, true, properties...)
	})
}

// Stop is of cgroups.Units.
func (m *Manager) Stop(ctx context.Context, unit string) error {
	err := m.job(ctx, func(conn *systemd.Conn, done chan<- string) error {
		_, err := conn.StopUnitContext(ctx, unit, "replace", done)
		return err
	})
	if is(err, noUnit) {
		return nil // it ended by itself, as scopes do when they are empty
	}
	return errors.Join(err, m.call(ctx, func(conn *systemd.Conn) error {
		if err := conn.ResetFailedUnitContext(ctx, unit); !is(err, noUnit) {
			return err
		}
		return nil
	}))
}

// Names of systemd's errors.
const (
	unitExists = "org.freedesktop.systemd1.UnitExists"
	noUnit     = "org.freedesktop.systemd1.NoSuchUnit"
)

func is(err error, names ...string) bool {
	said, ok := errors.AsType[dbus.Error](err)
	return ok && slices.Contains(names, said.Name)
}

func property(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}
