package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/cmd/internal/config"
	"github.com/siflet/siflet/cmd/internal/health"
)

// errNotReady has been told of.
var errNotReady = errors.New("the agent is not ready")

// answerTime is what an agent gets to say how it is.
const answerTime = 5 * time.Second

func statusCommand() *cobra.Command {
	var (
		file, listen string
		asJSON       bool
	)
	c := &cobra.Command{
		Use: "status", Short: "Ask the agent that runs how it is", Args: cobra.NoArgs,
		Long: "Ask the agent that runs how it is. The exit status is 0 if it is ready in every respect, 1 if it is not, and 255 if it\n" +
			"does not answer.",
	}
	c.Flags().StringVar(&file, "config", "", "TOML file with the agent's settings (default "+config.File+", if there)")
	c.Flags().StringVar(&listen, "listen", "", "the agent's socket (default that of its settings)")
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		listen, err := listenAddress(listen, file)
		if err != nil {
			return err
		}
		agent, err := askAgent(c.Context(), listen)
		if err != nil {
			return fmt.Errorf("no agent answers at %s: %w", listen, err)
		}
		return errors.Join(writeHealth(c.OutOrStdout(), agent, asJSON), readiness(agent))
	}
	return c
}

func readiness(a health.Agent) error {
	if a.Ready() {
		return nil
	}
	return errNotReady
}

// listenAddress is the agent's socket: the one that is named, or that of the settings.
func listenAddress(named, file string) (string, error) {
	if named != "" {
		return named, nil
	}
	settings, err := config.Load(file, nil)
	if err != nil {
		return "", err
	}
	return settings.Listen, nil
}

func dialAgent(ctx context.Context, listen string) (*grpc.ClientConn, error) {
	// What gRPC says of a socket that nobody serves takes three lines.
	if path, ok := strings.CutPrefix(listen, "unix://"); ok {
		try, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		_ = try.Close() // nothing was said
	}
	return grpc.NewClient(listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func askAgent(ctx context.Context, listen string) (health.Agent, error) {
	conn, err := dialAgent(ctx, listen)
	if err != nil {
		return health.Agent{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing more is asked
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	client := criapi.NewRuntimeServiceClient(conn)
	version, err := client.Version(ctx, &criapi.VersionRequest{})
	if err != nil {
		return health.Agent{}, err
	}
	status, err := client.Status(ctx, &criapi.StatusRequest{})
	if err != nil {
		return health.Agent{}, err
	}
	a := health.Agent{Runtime: version.RuntimeName, Version: version.RuntimeVersion}
	for _, c := range status.GetStatus().GetConditions() {
		a.Conditions = append(a.Conditions, health.Condition{Type: c.Type, OK: c.Status, Reason: c.Reason, Message: c.Message})
	}
	return a, nil
}

func writeHealth(w io.Writer, a health.Agent, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "\t")
		return encoder.Encode(a)
	}
	if _, err := fmt.Fprintf(w, "%s %s\n", a.Runtime, a.Version); err != nil {
		return err
	}
	for _, c := range a.Conditions {
		line := c.Type
		if !c.OK {
			line = fmt.Sprintf("not %s: %s: %s", c.Type, c.Reason, c.Message)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
