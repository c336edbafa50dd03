package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall" //nolint:depguard // the names of signals; no system call
	"time"

	"github.com/spf13/cobra"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/cmd/internal/config"
)

// event is one of `agent events --json`.
type event struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"` // created, started, stopped or deleted
	Pod       string    `json:"pod"`
	Container string    `json:"container,omitempty"`
	ID        string    `json:"id"`
	ExitCode  *int32    `json:"exitCode,omitempty"`
	Reason    string    `json:"reason,omitempty"`
}

func eventsCommand() *cobra.Command {
	var (
		file, listen string
		asJSON       bool
	)
	c := &cobra.Command{Use: "events", Short: "Show what happens to pods and containers from now on", Args: cobra.NoArgs}
	c.Flags().StringVar(&file, "config", "", "TOML file with the agent's settings (default "+config.File+", if there)")
	c.Flags().StringVar(&listen, "listen", "", "the agent's socket (default that of its settings)")
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "a line of JSON each")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		listen, err := listenAddress(listen, file)
		if err != nil {
			return err
		}
		err = follow(ctx, listen, func() {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "INFO:    events of the agent at %s, from now on\n", listen)
		}, func(e event) error { return writeEvent(c.OutOrStdout(), e, asJSON) })
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("events of the agent at %s: %w", listen, err)
	}
	return c
}

// follow tells what happens, once begun, until the agent ends, or ctx.
func follow(ctx context.Context, listen string, begun func(), tell func(event) error) error {
	conn, err := dialAgent(ctx, listen)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing more is asked
	stream, err := criapi.NewRuntimeServiceClient(conn).GetContainerEvents(ctx, &criapi.GetEventsRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		return err
	}
	begun()
	for {
		got, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("it tells no more")
		}
		if err != nil {
			return err
		}
		if err := tell(eventOf(got)); err != nil {
			return err
		}
	}
}

func eventOf(r *criapi.ContainerEventResponse) event {
	kind := strings.TrimSuffix(strings.TrimPrefix(r.ContainerEventType.String(), "CONTAINER_"), "_EVENT")
	e := event{At: time.Unix(0, r.CreatedAt), Kind: strings.ToLower(kind), ID: r.ContainerId}
	if m := r.GetPodSandboxStatus().GetMetadata(); m != nil {
		e.Pod = m.Namespace + "/" + m.Name
	}
	for _, c := range r.ContainersStatuses {
		if c.Id != r.ContainerId {
			continue
		}
		e.Container = c.GetMetadata().GetName()
		if r.ContainerEventType == criapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
			e.ExitCode, e.Reason = &c.ExitCode, c.Reason
		}
	}
	return e
}

func writeEvent(w io.Writer, e event, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	line := fmt.Sprintf("%s %-7s %s", e.At.Format("2006-01-02T15:04:05.000"), e.Kind, e.Pod)
	if e.Container != "" {
		line += "/" + e.Container
	}
	if e.ExitCode != nil {
		line += fmt.Sprintf(" (%d, %s)", *e.ExitCode, e.Reason)
	}
	_, err := fmt.Fprintf(w, "%s %.12s\n", line, e.ID)
	return err
}
