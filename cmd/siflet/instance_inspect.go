package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
)

// instanceReport is what instance inspect shows: nothing of the environment.
type instanceReport struct {
	listed

	CreatedAt  time.Time       `json:"createdAt"`
	StartedAt  time.Time       `json:"startedAt,omitzero"`
	FinishedAt time.Time       `json:"finishedAt,omitzero"`
	OOMKilled  bool            `json:"oomKilled,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Service    runtime.Service `json:"service"`
	StopSignal string          `json:"stopSignal,omitempty"`
	Failures   int             `json:"healthFailures,omitempty"`
	Hostname   string          `json:"hostname,omitempty"`
	Addresses  []string        `json:"addresses,omitempty"`
	Ports      []network.Port  `json:"ports,omitempty"`
	Binds      []string        `json:"binds,omitempty"`
	Cgroup     string          `json:"cgroup,omitempty"`
	Log        string          `json:"logPath,omitempty"`
	Start      []string        `json:"start,omitempty"`
	Dir        string          `json:"dir,omitempty"` // where that was given
}

func (w *workshop) inspectInstanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect NAME", Short: "show all there is to know of an instance or a pod, but its environment, as JSON",
		Long: "Show all there is to know of an instance or, for root, of a pod: POD, NAMESPACE/POD or the start of its ID, each also with\n" +
			"/CONTAINER. Of the environment nothing is shown.",
		Args: exactly(1, "want the name of an instance or a pod"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.showInstance(cmd, args[0])
		},
	}
	w.registerUser(cmd)
	return cmd
}

// showInstance shows an instance of the caller's or, for root, a pod.
func (w *workshop) showInstance(cmd *cobra.Command, name string) error {
	views, err := w.views(cmd.Context(), true)
	if err != nil {
		return err
	}
	for _, v := range views {
		if v.pods {
			continue
		}
		i, err := v.InstanceByName(name)
		if errors.Is(err, runtime.ErrNotFound) || err == nil && !thisBoot(i) {
			continue
		}
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "\t")
		return encoder.Encode(inspectInstance(v, i))
	}
	report, err := inspectPod(views, name)
	if err != nil {
		return err
	}
	if report != nil {
		return writeJSON(cmd.OutOrStdout(), report)
	}
	return missingError{text: "no instance found with name " + name}
}

func inspectInstance(v view, i runtime.Instance) instanceReport {
	kept := attributes(i)
	out := instanceReport{
		listed: describe(v, i), CreatedAt: i.CreatedAt, Reason: i.Reason, Hostname: i.Spec.Hostname, Ports: i.Spec.Ports,
		Cgroup: i.Cgroup, Log: kept.Log, Start: kept.Start, Dir: kept.Dir,
	}
	for _, address := range i.Addresses {
		out.Addresses = append(out.Addresses, address.String())
	}
	c := only(v.Containers(), i.ID)
	if c == nil {
		return out
	}
	out.StartedAt, out.FinishedAt, out.OOMKilled, out.StopSignal = c.StartedAt, c.FinishedAt, c.OOMKilled, c.StopSignal
	out.Failures = c.Service.HealthFailures
	if c.Reason != "" {
		out.Reason = c.Reason
	}
	if c.Spec.Service != nil {
		out.Service = *c.Spec.Service
		if h := out.Service.Health; h != nil {
			// What is done, not with what.
			out.Service.Health = &runtime.HealthCheck{
				ExecSpec: runtime.ExecSpec{Args: h.Args, Timeout: h.Timeout}, Interval: h.Interval, StartPeriod: h.StartPeriod, Retries: h.Retries,
			}
		}
	}
	for _, m := range c.Spec.Mounts {
		if m.Type == "" || m.Type == "bind" {
			out.Binds = append(out.Binds, m.Source+":"+m.Target)
		}
	}
	return out
}
