package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/linux"
)

// configFile says, in a user's run directory, where that user's records are.
const configFile = "configdir"

// registerUser adds Singularity's flag for the instances of another user.
func (w *workshop) registerUser(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&w.asUser, "user", "u", "", "the instances of this user, for root")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if w.asUser != "" && !linux.IsRoot() {
			return messageError{text: "FATAL:   Only root user can list user's instances", code: exitFatal}
		}
		return nil
	}
}

// roots are those of the user whose instances are meant: the caller, unless --user
// names another.
func (w *workshop) roots() (roots, error) {
	if w.asUser == "" {
		return callerRoots()
	}
	who, err := user.Lookup(w.asUser)
	if err != nil {
		return roots{}, fmt.Errorf("--user: %w", err)
	}
	return userRoots(who)
}

// userRoots are those of any user, as found in the run directory that is the user's.
func userRoots(who *user.User) (roots, error) {
	host, err := os.Hostname()
	if err != nil {
		return roots{}, fmt.Errorf("find the host name: %w", err)
	}
	run := runDir(who.Uid)
	base := filepath.Join(who.HomeDir, ".siflet")
	if text, err := os.ReadFile(filepath.Join(run, configFile)); err == nil && filepath.IsAbs(string(text)) {
		base = filepath.Clean(string(text))
	}
	return rootsBelow(base, host, run, who.Username), nil
}

// runDir is the run directory of a user: below /run for root, who alone can make it
// there; for others where the system keeps such files of theirs, or in /tmp.
func runDir(uid string) string {
	if uid == "0" {
		return "/run/siflet-0"
	}
	if own := filepath.Join("/run/user", uid); ownedBy(own, uid) {
		return filepath.Join(own, "siflet")
	}
	return filepath.Join("/tmp", "siflet-"+uid)
}

func rootsBelow(base, host, run, name string) roots {
	return roots{
		state: filepath.Join(base, "hosts", host), run: run, logs: filepath.Join(base, "logs", host, name), base: base, user: name,
	}
}

// noteRoots lets root find the records of the user's instances.
func noteRoots(r roots) error {
	if err := os.MkdirAll(r.run, 0o711); err != nil {
		return err
	}
	path := filepath.Join(r.run, configFile)
	if text, err := os.ReadFile(path); err == nil && string(text) == r.base {
		return nil
	}
	return linux.Overwrite(path, []byte(r.base), 0o600)
}

// everyone are the roots of all users who have run instances since the machine was
// started.
func everyone() ([]roots, error) {
	if !linux.IsRoot() {
		return nil, messageError{text: "FATAL:   Only root user can list user's instances", code: exitFatal}
	}
	dirs, err := filepath.Glob(runDir("*"))
	if err != nil {
		return nil, err
	}
	var all []roots
	for _, dir := range dirs {
		uid := strings.TrimPrefix(dir, runDir(""))
		info, err := os.Lstat(dir)
		if _, perr := strconv.ParseUint(uid, 10, 32); perr != nil || err != nil || !info.IsDir() || !ownedBy(dir, uid) {
			continue // not what a user of ours has made
		}
		who, err := user.LookupId(uid)
		if err != nil {
			continue // a user who is no more
		}
		r, err := userRoots(who)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b roots) int { return strings.Compare(a.user, b.user) })
	return all, nil
}

func ownedBy(dir, uid string) bool {
	f, err := openDirectory(dir)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // read only
	stat, err := linux.Fstat(int(f.Fd()))
	return err == nil && strconv.FormatUint(uint64(stat.UID), 10) == uid
}

// viewsOf are the instances below each of some roots. Who never ran anything has none.
func (w *workshop) viewsOf(ctx context.Context, all []roots) ([]view, error) {
	var views []view
	var errs error
	for _, one := range all {
		if _, err := os.Stat(filepath.Join(one.state, "instances")); err != nil {
			continue
		}
		reader, err := w.reader(ctx, one)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		views = append(views, view{Reader: reader, user: one.user})
	}
	return views, errs
}
