package main

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

// listed is one instance of `instance list --json`.
type listed struct {
	Instance string `json:"instance"`
	PID      int    `json:"pid"`
	Image    string `json:"img"`
	IP       string `json:"ip"`
	LogErr   string `json:"logErrPath"`
	LogOut   string `json:"logOutPath"`
	Pod      string `json:"pod,omitempty"`
	User     string `json:"user,omitempty"`
	// Status is what the table says without the numbers.
	Status     string    `json:"status"`
	ExitCode   *int      `json:"exitCode,omitempty"`
	Restarts   int       `json:"restarts"`
	NextStart  time.Time `json:"nextStart,omitzero"`
	statusText string
}

func (w *workshop) listCommand() *cobra.Command {
	var asJSON, logs, pods, everybody bool
	cmd := &cobra.Command{
		Use: "list [flags] [GLOB]", Short: "list instances and how they are",
		Long: "List instances and how they are.\n\nSTATUS is running, exited with the status of the service, or restarting with that of its last run; with a\n" +
			"health check also starting, healthy or unhealthy; no network, where what gave it one without root has ended;\nno answer, where what watches over it hangs: stop kills it. What has exited is listed until it is stopped or started\nagain, but not when the machine was started anew.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{text: "want one name or pattern; quote patterns: 'web*'"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && logs {
				return messageError{text: "FATAL:   more than one flags have been set", code: exitFatal}
			}
			glob := "*"
			if len(args) == 1 {
				glob = args[0]
			}
			found, err := w.list(cmd, glob, pods, everybody)
			if err != nil {
				return err
			}
			return writeList(cmd.OutOrStdout(), found, asJSON, listColumns{logs: logs, pods: pods, users: everybody})
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	cmd.Flags().BoolVarP(&logs, "logs", "l", false, "with the paths of the logs")
	w.registerUser(cmd)
	cmd.Flags().BoolVar(&everybody, "all-users", false, "the instances of all users, for root")
	cmd.Flags().BoolVar(&pods, "pods", false, "list the node agent's pods too")
	return cmd
}

// listColumns are those of the table that are there if asked for.
type listColumns struct{ logs, pods, users bool }

func (w *workshop) list(cmd *cobra.Command, glob string, pods, everybody bool) ([]listed, error) {
	out := []listed{}
	if everybody {
		var err error
		if out, err = w.everyone(cmd.Context(), glob); err != nil {
			return nil, err
		}
	}
	views, err := w.views(cmd.Context(), pods && !everybody)
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		instances, err := matching(view.Instances(), glob)
		if err != nil {
			return nil, err
		}
		for _, i := range instances {
			if thisBoot(i) {
				entry := describe(view, i)
				if everybody {
					entry.User = "root"
				}
				out = append(out, entry)
			}
		}
	}
	return out, nil
}

func describe(view view, i runtime.Instance) listed {
	kept := attributes(i)
	entry := listed{
		Instance: i.Spec.Name, PID: i.InitPID, Image: kept.Image, IP: firstAddress(i.Addresses),
		LogErr: kept.LogErr, LogOut: kept.LogOut,
	}
	if !i.Spec.Pod {
		if c := only(view.Containers(), i.ID); c != nil && entry.PID == 0 {
			entry.PID = c.PID // it boots
		}
		s := statusOf(i, only(view.Containers(), i.ID))
		entry.Status, entry.ExitCode, entry.Restarts, entry.NextStart = s.state, s.code, s.restarts, s.again
		entry.statusText = s.String()
		return entry
	}
	entry.Status, entry.statusText = "ready", "ready"
	entry.Pod = i.Spec.Metadata.Namespace + "/" + i.Spec.Metadata.Name
	entry.Instance = podName(i)
	for _, c := range view.Containers() {
		if c.InstanceID == i.ID {
			entry.Image, entry.LogOut = c.Spec.ImageReference, c.LogPath
			if entry.PID == 0 {
				entry.PID = c.PID
			}
		}
	}
	if entry.PID == 0 {
		entry.PID = i.SupervisorPID
	}
	return entry
}

func writeList(w io.Writer, found []listed, asJSON bool, with listColumns) error {
	logs, pods := with.logs, with.pods
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "\t")
		return encoder.Encode(map[string][]listed{"instances": found})
	}
	header := []string{"INSTANCE NAME", "PID", "IP", "IMAGE", "STATUS", "RESTARTS"}
	if logs {
		header = []string{"INSTANCE NAME", "PID", "LOGS"}
	}
	if pods {
		header = append(header, "POD")
	}
	if with.users {
		header = append(header, "USER")
	}
	rows := [][]string{header}
	for _, i := range found {
		pid := "-"
		if i.PID != 0 {
			pid = strconv.Itoa(i.PID)
		}
		row := []string{i.Instance, pid, i.IP, i.Image, i.statusText, strconv.Itoa(i.Restarts)}
		if logs {
			row = []string{i.Instance, pid, i.LogErr}
			if i.LogErr == "" {
				row[2], i.LogOut = i.LogOut, ""
			}
		}
		if pods {
			row = append(row, i.Pod)
		}
		if with.users {
			row = append(row, i.User)
		}
		rows = append(rows, row)
		if logs && i.LogOut != "" {
			rows = append(rows, []string{"", "", i.LogOut})
		}
	}
	return table(w, rows)
}
