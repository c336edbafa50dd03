package main

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

// listedPod is one pod of `pods --json`.
type listedPod struct {
	Namespace  string                `json:"namespace"`
	Name       string                `json:"name"`
	ID         string                `json:"id"`
	State      runtime.InstanceState `json:"state"`
	Reason     string                `json:"reason,omitempty"`
	Running    int                   `json:"running"`
	Containers int                   `json:"containers"`
	IP         string                `json:"ip,omitempty"`
	Created    time.Time             `json:"created"`
	Handler    string                `json:"handler,omitempty"`
	Supervisor int                   `json:"supervisor,omitempty"`
}

// listedContainer is one container of `ps --json`.
type listedContainer struct {
	Name  string `json:"name"`
	Pod   string `json:"pod,omitempty"` // NAMESPACE/NAME; empty for a person's instance
	ID    string `json:"id"`
	Image string `json:"image"`
	State string `json:"state"`
	// Exit is how it ended, if it has.
	Exit     *int      `json:"exitCode,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Restarts int       `json:"restarts"`
	PID      int       `json:"pid,omitempty"`
	Created  time.Time `json:"created"`
}

// shortID is as much of an ID as is enough for most.
const shortID = 12

func (w *workshop) podsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "pods", Short: "list the node's pods, whether the agent runs or not", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := w.node(cmd)
			if err != nil {
				return err
			}
			return writePods(cmd.OutOrStdout(), listPods(node), asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	return cmd
}

// node are the agent's pods; an agent that never ran has none.
func (w *workshop) node(cmd *cobra.Command) ([]view, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	views, err := w.views(cmd.Context(), true)
	return slices.DeleteFunc(views, func(v view) bool { return !v.pods }), err
}

func listPods(node []view) []listedPod {
	list := []listedPod{}
	for _, v := range node {
		all := v.Containers()
		for _, i := range v.Instances() {
			p := listedPod{
				Namespace: i.Spec.Metadata.Namespace, Name: podName(i), ID: i.ID, State: i.State, Reason: i.Reason, IP: firstAddress(i.Addresses),
				Created: i.CreatedAt, Handler: i.Spec.Handler, Supervisor: i.SupervisorPID,
			}
			for _, c := range all {
				if c.InstanceID == i.ID {
					p.Containers++
					if c.State == runtime.ContainerRunning {
						p.Running++
					}
				}
			}
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b listedPod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func writePods(w io.Writer, list []listedPod, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"pods": list})
	}
	rows := [][]string{{"NAMESPACE", "POD", "STATE", "RUNNING", "IP", "AGE", "ID"}}
	for _, p := range list {
		rows = append(rows, []string{
			p.Namespace, p.Name, string(p.State), strconv.Itoa(p.Running) + "/" + strconv.Itoa(p.Containers), p.IP, age(p.Created, time.Now()), p.ID[:min(shortID, len(p.ID))],
		})
	}
	return table(w, rows)
}

func (w *workshop) psCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use: "ps", Short: "list the containers that run: the caller's instances and, for root, the node's pods", Args: exactly(0, "want no arguments"),
		Long: "List the containers that run: those of the caller's instances and, for root, of the node's pods, whether the agent runs\n" +
			"or not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			views, err := w.views(cmd.Context(), true)
			if err != nil {
				return err
			}
			list := listContainers(views)
			if !all {
				list = slices.DeleteFunc(list, func(c listedContainer) bool { return c.State != string(runtime.ContainerRunning) })
			}
			return writeContainers(cmd.OutOrStdout(), list, asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those too that do not run (yet, or any more)")
	return cmd
}

func listContainers(views []view) []listedContainer {
	list := []listedContainer{}
	for _, v := range views {
		for _, c := range v.Containers() {
			i, err := v.Instance(c.InstanceID)
			if err != nil || !i.Spec.Pod && !thisBoot(i) {
				continue
			}
			one := listedContainer{
				Name: cmp.Or(c.Spec.Metadata.Name, c.Spec.Name), Pod: i.Spec.Metadata.Namespace + "/" + podName(i), ID: c.ID,
				Image: cmp.Or(c.Spec.ImageReference, attributes(i).Image, c.ImageID), State: string(c.State), Reason: c.Reason,
				Restarts: int(c.Spec.Metadata.Attempt), PID: c.PID, Created: c.CreatedAt,
			}
			if c.State == runtime.ContainerExited {
				one.Exit = &c.ExitCode
			}
			if !i.Spec.Pod {
				one.Name, one.Pod, one.Restarts = i.Spec.Name, "", c.Service.Restarts
			}
			list = append(list, one)
		}
	}
	slices.SortStableFunc(list, func(a, b listedContainer) int {
		return cmp.Or(cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Name, b.Name), b.Created.Compare(a.Created))
	})
	return list
}

func writeContainers(w io.Writer, list []listedContainer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"containers": list})
	}
	rows := [][]string{{"CONTAINER", "POD", "IMAGE", "STATE", "RESTARTS", "AGE", "PID", "ID"}}
	for _, c := range list {
		state, pid := c.State, "-"
		if c.Exit != nil {
			state += " (" + strconv.Itoa(*c.Exit) + ")"
		}
		if c.PID != 0 {
			pid = strconv.Itoa(c.PID)
		}
		rows = append(rows, []string{
			c.Name, cmp.Or(c.Pod, "-"), c.Image, state, strconv.Itoa(c.Restarts), age(c.Created, time.Now()), pid, c.ID[:min(shortID, len(c.ID))],
		})
	}
	return table(w, rows)
}

// age is how long ago something was, in one unit.
func age(from, now time.Time) string {
	const day = 24
	d := max(now.Sub(from), 0)
	switch {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 2*day*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	default:
		return strconv.Itoa(int(d.Hours()/day)) + "d"
	}
}
