package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// configFile says, in a user's run directory, where that user's records are.
	configFile = "configdir"
	// runFile says, beside the records, which run directory they go with, after the boot
	// of which that is so.
	runFile = "run"
)

// findRun finds the run directory of the caller: the one that has been used since the
// machine was started, or where one is made.
func (r *roots) findRun(uid, name string) {
	r.run = freshRun(uid, name)
	text, err := os.ReadFile(filepath.Join(r.state, runFile))
	boot, noted, found := strings.Cut(strings.TrimSpace(string(text)), " ")
	if err != nil || !found || boot != bootID() || !filepath.IsAbs(noted) {
		return
	}
	if private(noted, uid) == nil {
		r.run = noted
	}
}

// freshRun is below /run for root, who alone can make it there. Others have /run/user/UID,
// but the system takes that away when they log out, unless they linger: instances stay.
func freshRun(uid, name string) string {
	if uid == "0" {
		return "/run/siflet-0"
	}
	if own := filepath.Join("/run/user", uid); ownedBy(own, uid) && lingers(name) {
		return filepath.Join(own, "siflet")
	}
	return filepath.Join("/tmp", "siflet-"+uid)
}

// lingers says that systemd keeps what a user runs after the user has left.
func lingers(name string) bool {
	_, err := os.Lstat(filepath.Join("/var/lib/systemd/linger", filepath.Base(name)))
	return err == nil
}

// private refuses a run directory that somebody else has made, or may change. One that
// is not there is as good.
func private(dir, uid string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, err := linux.Lstat(dir)
	if err != nil {
		return err
	}
	switch owner := strconv.FormatUint(uint64(stat.UID), 10); {
	case owner != uid:
		who := "user " + owner
		if u, err := user.LookupId(owner); err == nil {
			who = u.Username
		}
		return fmt.Errorf("%s belongs to %s, and is to be yours: nothing there is used; have it removed", dir, who)
	case !info.IsDir():
		return fmt.Errorf("%s is no directory: remove it", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others: chmod 700 %[1]s", dir)
	}
	return nil
}

// checkRun refuses a run directory that is not the caller's own.
func (r *roots) checkRun() error {
	err := private(r.run, strconv.Itoa(os.Geteuid()))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// makeRun makes the run directory, if it is not there.
func (r *roots) makeRun() error {
	if filepath.Dir(r.run) != "/run" || !linux.IsRoot() {
		if err := os.Mkdir(r.run, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return r.checkRun()
	}
	return os.MkdirAll(r.run, 0o711)
}

// noteRoots lets root find the records of the user's instances, and the user their run
// directory, however the next command is called.
func noteRoots(r roots) error {
	if err := r.makeRun(); err != nil {
		return err
	}
	if err := overwrite(filepath.Join(r.run, configFile), r.base); err != nil {
		return err
	}
	if err := os.MkdirAll(r.state, 0o711); err != nil {
		return err
	}
	return overwrite(filepath.Join(r.state, runFile), bootID()+" "+r.run+"\n")
}

// overwrite makes a file what it is to be, if it is not so already.
func overwrite(path, want string) error {
	if text, err := os.ReadFile(path); err == nil && string(text) == want {
		return nil
	}
	return linux.Overwrite(path, []byte(want), 0o600)
}

// notedBase is the directory of records that a user has used last, if it is noted.
func notedBase(uid, name string) string {
	for _, run := range []string{filepath.Join("/run/user", uid, "siflet"), freshRun(uid, name)} {
		if private(run, uid) != nil {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(run, configFile)); err == nil && filepath.IsAbs(string(text)) {
			return filepath.Clean(string(text))
		}
	}
	return ""
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

// bootID is the kernel's name for the time since the machine was started; empty if it
// does not tell.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}
