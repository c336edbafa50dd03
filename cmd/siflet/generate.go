package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

func (w *workshop) generateCommand() *cobra.Command {
	return group(&cobra.Command{Use: "generate", Short: "write files for other programs"}, w.generateSystemdCommand())
}

func (w *workshop) generateSystemdCommand() *cobra.Command {
	var image string
	cmd := &cobra.Command{
		Use: "systemd [--image IMAGE] NAME [-- START-FLAGS...]", Short: "print a unit of systemd that runs an instance",
		Long: "Print a unit of systemd that runs an instance: one that is there, as it was started, or one of --image with the\n" +
			"flags of instance start behind \"--\". Values of --env are not in it: put them into a file, for --env-file.\n\n" +
			"    siflet generate systemd web > /etc/systemd/system/web.service\n" +
			"    systemctl daemon-reload; siflet instance stop web; systemctl enable --now web",
		Args: atLeast(1, "want the name of an instance: siflet generate systemd NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash != 1 && len(args) > 1 {
				return usageError{text: "want one name; put flags for instance start behind --"}
			}
			name := args[0]
			if !validInstanceName(name) {
				return usageError{text: name + " is not a valid instance name"}
			}
			var dir string
			var start []string
			var err error
			if image == "" {
				dir, start, err = w.startOf(cmd, name)
			} else {
				dir, start, err = startOfImage(image, name, args[1:])
			}
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find siflet: %w", err)
			}
			return writeUnit(cmd.OutOrStdout(), program, name, dir, start)
		},
	}
	cmd.Flags().StringVar(&image, "image", "", "make a unit for an instance of this image")
	return cmd
}

// startOf is where and how an instance that is there was started.
func (w *workshop) startOf(cmd *cobra.Command, name string) (dir string, start []string, err error) {
	views, err := w.views(cmd.Context(), false)
	if err != nil {
		return "", nil, err
	}
	for _, v := range views {
		i, err := v.InstanceByName(name)
		if errors.Is(err, runtime.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if kept := attributes(i); len(kept.Start) > 0 {
			if kept.Env {
				warn(w.stderr, "%s was started with --env, whose values are not in the unit: put them into a file, and add --env-file=FILE", name)
			}
			return kept.Dir, kept.Start, nil
		}
		return "", nil, fmt.Errorf("nothing is known of how %s was started; use --image", name)
	}
	return "", nil, missingError{text: "no instance found with name " + name + "; start it first, or use --image"}
}

// startOfImage is how an instance of an image would be started here.
func startOfImage(image, name string, flags []string) (dir string, start []string, err error) {
	if _, err := os.Stat(image); err == nil {
		if image, err = filepath.Abs(image); err != nil {
			return "", nil, err
		}
	}
	dir, _ = os.Getwd() // of one that is gone nothing is known
	return dir, slices.Concat([]string{"instance", "start"}, flags, []string{image, name}), nil
}

// writeUnit writes a unit in which systemd knows at each moment how the instance is.
// Paths in start may be relative to dir.
func writeUnit(w io.Writer, program, name, dir string, start []string) error {
	words := []string{program}
	words = append(words, start[:2]...)
	words = append(words, "--foreground")
	words = append(words, start[2:]...)
	stop := strings.Join([]string{unitWord(program), "instance", "stop", unitWord(name)}, " ")
	for i := range words {
		words[i] = unitWord(words[i])
	}
	var settings strings.Builder
	if dir != "" && !strings.Contains(dir, "\n") {
		settings.WriteString("WorkingDirectory=-" + strings.ReplaceAll(dir, "%", "%%") + "\n")
	}
	for _, variable := range []string{"SIFLET_CONFIGDIR", "SIFLET_CGROUP_PARENT"} {
		if value := os.Getenv(variable); value != "" {
			settings.WriteString("Environment=" + unitWord(variable+"="+value) + "\n")
		}
	}
	_, err := fmt.Fprintf(w, `# %[1]s: install as /etc/systemd/system/%[1]s.service
[Unit]
Description=siflet instance %[1]s
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
%[4]s# An instance of that name that a crash has left is in the way.
ExecStartPre=-%[3]s
ExecStart=%[2]s
ExecStop=-%[3]s
ExecStopPost=-%[3]s
Restart=always
RestartSec=1
KillMode=mixed
Delegate=yes
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
`, name, strings.Join(words, " "), stop, settings.String())
	return err
}

// unitWord is text as one word of a unit's command line.
func unitWord(text string) string {
	text = strings.NewReplacer("%", "%%", "$", "$$").Replace(text)
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=:/@,%$") == "" {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}
