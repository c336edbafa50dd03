package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/supervisor"
)

// Ready returns nil when instances can be expected to run.
func (e *Engine) Ready() error {
	if !e.life.open() {
		return errorf(ErrUnavailable, "the engine is closed")
	}
	if err := e.mendRoot(); err != nil {
		return as(ErrUnavailable, fmt.Errorf("the run directory: %w", err))
	}
	return nil
}

// NetworkReady returns nil when a network can be expected to be attached.
func (e *Engine) NetworkReady(ctx context.Context) error {
	if e.cfg.Network == nil {
		return errorf(ErrUnavailable, "there is no network")
	}
	if err := e.cfg.Network.Status(ctx); err != nil {
		return as(ErrUnavailable, err)
	}
	return nil
}

// PortForward connects a stream to a port inside the instance, on its
// localhost, by IPv4 or else IPv6. It returns when either side has ended.
func (v *view) PortForward(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
	i, err := v.instance(id)
	if err != nil {
		return fmt.Errorf("forward port: %w", err)
	}
	i.mu.Lock()
	ready := instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive) == InstanceReady
	netns := i.rec.Netns
	i.mu.Unlock()
	if !ready {
		return fmt.Errorf("forward port: %w", errorf(ErrNotReady, "instance %s is not running", id))
	}
	conn, err := dialIn(ctx, netns, port)
	if err != nil {
		return fmt.Errorf("forward port %d: %w", port, err)
	}
	defer conn.Close() //nolint:errcheck // the forwarding is over
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(stream, conn) // ends with either side
		_ = stream.Close()
	})
	_, _ = io.Copy(conn, stream)
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	copies.Wait()
	return nil
}

func dialIn(ctx context.Context, netns string, port uint16) (net.Conn, error) {
	address := net.JoinHostPort("localhost", strconv.Itoa(int(port)))
	if netns != "" {
		return network.Dial(ctx, netns, "tcp", address)
	}
	var errs error
	for _, host := range []string{"127.0.0.1", "::1"} {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil {
			return conn, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// Reader is a view of another process's roots, the agent's, whether it runs or
// not. It takes no lock and writes nothing there. What it lists is as of when it
// was opened.
type Reader struct{ view }

// OpenReader reads the records below the roots and asks the supervisors.
func OpenReader(ctx context.Context, cfg Config) (*Reader, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	r := &Reader{}
	r.init(cfg)
	found, err := loadInstances(cfg)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", cfg.StateDir, err)
	}
	var wait sync.WaitGroup
	for _, i := range found {
		tellCorrupt(cfg.Log, i)
		if i.rec.ReadyAt.IsZero() || !i.rec.RemovingAt.IsZero() {
			continue // being made, or going
		}
		r.add(i)
		if !i.rec.StoppedAt.IsZero() || i.rec.BootID != cfg.BootID {
			continue
		}
		wait.Go(func() {
			client, err := dial(ctx, i)
			if err != nil {
				i.mu.Lock()
				i.mute = !errors.Is(err, supervisor.ErrGone)
				i.mu.Unlock()
				return
			}
			ask, cancel := context.WithTimeout(ctx, answerTime)
			defer cancel()
			status, err := client.Status(ask)
			if err != nil {
				return
			}
			i.mu.Lock()
			i.client, i.alive = client, true
			i.mu.Unlock()
			believe(i, status)
		})
	}
	wait.Wait()
	return r, nil
}
