package runtime

import (
	"context"
	"time"

	"github.com/siflet/siflet/runtime/supervisor"
)

// Service says what is done about the one container of a person's instance besides
// starting it. Its zero value is to do nothing more.
type Service struct {
	// Restart is supervisor.RestartOnFailure, supervisor.RestartAlways or empty, for
	// never. Retries bounds the starts after a failure; 0 does not.
	Restart string       `json:"restart,omitempty"`
	Retries int          `json:"retries,omitempty"`
	Health  *HealthCheck `json:"health,omitempty"`
	// LogSize is where a log file is put aside for a new one; LogFiles are kept of
	// each, with the one in use. Zero is no limit.
	LogSize  int64 `json:"log_size,omitempty"`
	LogFiles int   `json:"log_files,omitempty"`
}

// HealthCheck is a command that runs in the container now and then and succeeds if
// the service is well. Its Timeout is how long it may take. Zero values are the
// supervisor's defaults.
type HealthCheck struct {
	ExecSpec

	// Interval is between two runs; failures within StartPeriod, or Interval, of a start do not count,
	// and Retries of them in a row make the service unhealthy.
	Interval    time.Duration `json:"interval,omitempty"`
	StartPeriod time.Duration `json:"start_period,omitempty"`
	Retries     int           `json:"retries,omitempty"`
}

// ServiceState is how the service of a person's instance is.
type ServiceState struct {
	// Restarts counts the starts but the first. Again is when the next one comes.
	Restarts int       `json:"restarts,omitempty"`
	Again    time.Time `json:"again,omitzero"`
	// LastExit is the status that the service had before it.
	LastExit int `json:"last_exit,omitempty"`
	// Idle says that the image has nothing to start; Left, that the main process has
	// ended and others go on.
	Idle bool `json:"idle,omitempty"`
	Left bool `json:"left,omitempty"`
	// Health is "starting", "healthy" or "unhealthy"; empty without a check.
	Health         string `json:"health,omitempty"`
	HealthFailures int    `json:"health_failures,omitempty"`
}

func serviceState(s *supervisor.ContainerStatus) ServiceState {
	out := ServiceState{
		Restarts: s.Restarts, Again: s.Again, Idle: s.Idle, Left: s.Left,
		Health: s.Health, HealthFailures: s.HealthFailures,
	}
	if s.Last != nil {
		out.LastExit = s.Last.Code
	}
	return out
}

// serviceRequest is what the supervisor has to know of it.
func (v *view) serviceRequest(c *container, s *Service) (*supervisor.ServiceSpec, error) {
	if s == nil || s.Restart == "" && s.Health == nil {
		return nil, nil //nolint:nilnil // nothing to know
	}
	out := &supervisor.ServiceSpec{Restart: s.Restart, Retries: s.Retries}
	if h := s.Health; h != nil {
		exec, err := v.execRequest(c, &h.ExecSpec)
		if err != nil {
			return nil, err
		}
		out.Health = &supervisor.HealthSpec{Exec: &exec, Interval: h.Interval, StartPeriod: h.StartPeriod, Retries: h.Retries}
	}
	return out, nil
}

func (s *ContainerSpec) logSize() int64 {
	if s.Service == nil {
		return 0
	}
	return s.Service.LogSize
}

func (s *ContainerSpec) logFiles() int {
	if s.Service == nil {
		return 0
	}
	return s.Service.LogFiles
}

// Refresh asks how the services in an instance are now.
func (v *view) Refresh(ctx context.Context, instanceID string) error {
	i, err := v.instance(instanceID)
	if err != nil {
		return err
	}
	i.mu.Lock()
	client := i.client
	i.mu.Unlock()
	if client == nil {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	status, err := client.Status(ask)
	if err != nil {
		return mute(ctx, err)
	}
	believe(i, status)
	return nil
}

// WaitService waits for the end of a container: of a person's service, for the one
// after which it is not started again.
func (v *view) WaitService(ctx context.Context, id string) (supervisor.Exit, error) {
	c, client, err := v.running(id)
	if err != nil {
		return supervisor.Exit{}, err
	}
	exit, err := client.Wait(ctx, c.id)
	if err == nil || ctx.Err() != nil {
		return exit, err
	}
	// The supervisor has gone; what it wrote down counts.
	if written, rerr := readExit(c); rerr == nil && written != nil {
		return *written, nil
	}
	return exit, err
}
