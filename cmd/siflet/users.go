package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/runtime/linux"
)

// What a process that is another user for root's sake is told, and how long it may take
// to list what there is.
const (
	notedVar    = "SIFLET_AS_NOTED" // the directory of the records is the one that is noted
	longestList = 10 * time.Second
	mostListed  = 1 << 20 // bytes
	longestText = 4 << 10 // of a path
)

// registerUser adds Singularity's flag for the instances of another user. All that is
// theirs is theirs to change at any time: root looks at it and acts on it as the user.
func (w *workshop) registerUser(cmd *cobra.Command) {
	name := cmd.Flags().StringP("user", "u", "", "the instances of this user, for root")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *name == "" {
			return run(cmd, args)
		}
		if !linux.IsRoot() {
			return messageError{text: "FATAL:   Only root user can list user's instances", code: exitFatal}
		}
		who, err := accounts.ByName(*name)
		if err != nil {
			return fmt.Errorf("--user: %w", err)
		}
		if who.Uid == "0" {
			return run(cmd, args)
		}
		return w.actAs(cmd, who, args)
	}
}

// actAs runs the command again as the user.
func (w *workshop) actAs(cmd *cobra.Command, who *user.User, args []string) error {
	line := strings.Fields(cmd.CommandPath())[1:]
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name != "user" {
			line = append(line, "--"+flag.Name+"="+flag.Value.String())
		}
	})
	child, err := asUser(cmd.Context(), who, append(append(line, "--"), args...))
	if err != nil {
		return err
	}
	child.Stdout, child.Stderr = throughPipe{cmd.OutOrStdout()}, throughPipe{w.stderr}
	if err := child.Run(); child.ProcessState == nil {
		return fmt.Errorf("--user: %w", err)
	}
	if code := child.ProcessState.ExitCode(); code != 0 {
		return statusError{code: code}
	}
	return nil
}

// throughPipe keeps a process from having root's own output, which may be a terminal.
type throughPipe struct{ io.Writer }

// asUser prepares siflet for another user: without root's terminal, environment and open files.
func asUser(ctx context.Context, who *user.User, args []string) (*exec.Cmd, error) {
	groups, err := who.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", who.Username, err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + who.HomeDir, "USER=" + who.Username, "LOGNAME=" + who.Username, notedVar + "=1",
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr, err = linux.OtherUser(who.Uid, who.Gid, groups)
	return cmd, err
}

// everyone lists the instances of all users who have run some since the machine was
// started. Who can't be asked is complained of.
func (w *workshop) everyone(ctx context.Context, glob string) ([]listed, error) {
	if !linux.IsRoot() {
		return nil, messageError{text: "FATAL:   Only root user can list user's instances", code: exitFatal}
	}
	users := usersOfOurs()
	found := make([][]listed, len(users))
	var wait sync.WaitGroup
	for n, who := range users {
		wait.Go(func() {
			var err error
			if found[n], err = instancesOf(ctx, who, glob); err != nil {
				warn(w.stderr, "the instances of %s can't be listed: %v", who.Username, err)
			}
		})
	}
	wait.Wait()
	return slices.Concat(found...), nil
}

// usersOfOurs are those who have a run directory, root left out, in the order of their names.
func usersOfOurs() []*user.User {
	seen := map[string]bool{"0": true}
	var uids []string
	for _, pattern := range []string{"/run/user/*/siflet", "/tmp/siflet-*"} {
		dirs, _ := filepath.Glob(pattern) // a pattern that is right
		for _, dir := range dirs {
			uid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "siflet-"), "-") // see freeRun
			if uid == "siflet" {
				uid = filepath.Base(filepath.Dir(dir))
			}
			if _, err := strconv.ParseUint(uid, 10, 32); err != nil || seen[uid] || !ownedBy(dir, uid) {
				continue // not what a user of ours has made
			}
			seen[uid] = true
			uids = append(uids, uid)
		}
	}
	users := accounts.ByIDs(uids) // without those who are no more
	slices.SortFunc(users, func(a, b *user.User) int { return strings.Compare(a.Username, b.Username) })
	return users
}

// instancesOf has a user list instances. The answer is the user's, and so nothing to trust.
func instancesOf(ctx context.Context, who *user.User, glob string) ([]listed, error) {
	ctx, cancel := context.WithTimeout(ctx, longestList)
	defer cancel()
	cmd, err := asUser(ctx, who, []string{"instance", "list", "--json", "--", glob})
	if err != nil {
		return nil, err
	}
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	var out, complaints limitedBuffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, printable(strings.TrimSpace(complaints.String())))
	}
	var answer struct {
		Instances []listed `json:"instances"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return nil, err
	}
	for n := range answer.Instances {
		i := &answer.Instances[n]
		for _, text := range []*string{&i.Instance, &i.Image, &i.IP, &i.LogErr, &i.LogOut, &i.Status} {
			*text = printable((*text)[:min(len(*text), longestText)])
		}
		i.Pod, i.User = "", who.Username
		i.statusText = status{state: i.Status, code: i.ExitCode}.String()
	}
	return answer.Instances, nil
}

// limitedBuffer forgets what is more than anybody would list.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), max(0, mostListed-b.Len()))]) // it has no errors
	return len(p), nil
}
