package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
)

// eventsCommand is siflet-agent's, which speaks the protocol.
func (w *workshop) eventsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "events", Short: "show what happens to pods and containers from now on, as the agent tells it", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needRoot(); err != nil {
				return err
			}
			program, err := setup.Program("", "siflet-agent")
			if err != nil {
				return err
			}
			args := []string{"siflet", "agent", "events"}
			if cmd.Flags().Changed("run-dir") || os.Getenv("SIFLET_RUN_DIR") != "" {
				args = append(args, "--listen", "unix://"+w.agent.run+"/siflet.sock")
			}
			if asJSON {
				args = append(args, "--json")
			}
			return linux.Become(program, args, os.Environ())
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "a line of JSON each")
	return cmd
}

// podReport is what inspect shows of a pod: nothing of the environments.
type podReport struct {
	Pod        runtime.Instance    `json:"pod"`
	Containers []runtime.Container `json:"containers"`
}

// inspectPod finds a pod that name means, ready or not; nil if there is none.
func inspectPod(views []view, name string) (*podReport, error) {
	var found []podReport
	for _, v := range views {
		for _, i := range v.Instances() {
			rest, ok := addressed(i, name)
			if !i.Spec.Pod || !ok {
				continue
			}
			one := podReport{Pod: i, Containers: []runtime.Container{}}
			for _, c := range v.Containers() {
				if c.InstanceID == i.ID && (rest == "" || rest == c.Spec.Name) {
					c.Spec.Env, c.Spec.Action = nil, nil
					one.Containers = append(one.Containers, c)
				}
			}
			found = append(found, one)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil //nolint:nilnil // not there and not wrong
	case 1:
		return &found[0], nil
	}
	return nil, errors.New(name + " means several pods; use NAMESPACE/NAME or an ID: siflet pods")
}
