package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/runtime/linux"
)

const (
	// configFile says, in a user's run directory, where that user's records are.
	configFile = "configdir"
	// runFile says, beside the records, which run directory they go with, after the boot
	// of which that is so.
	runFile = "run"
	// wordFile makes the name of a run directory that nobody else could have made.
	wordFile = "word"
)

// findRun finds the run directory of the caller: the one that has been used since the
// machine was started, or where one is made.
func (r *roots) findRun(uid, name string) {
	r.run = r.freeRun(freshRun(uid, name), uid)
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

// freeRun is the usual run directory or, where somebody else has made that, one whose name
// others don't know before it is there.
func (r *roots) freeRun(usual, uid string) string {
	if !errors.Is(private(usual, uid), errTaken) {
		return usual
	}
	word, err := ownWord(filepath.Join(r.state, wordFile))
	if err != nil {
		return usual // which is refused
	}
	const some = 8
	sum := sha256.Sum256([]byte(word + bootID()))
	return usual + "-" + hex.EncodeToString(sum[:some])
}

// ownWord is what a file says that nobody else can read. If it is not there it is made, once
// and for all who do that at a time.
func ownWord(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return string(text), err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(rand.Text())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path)
	}
	if errors.Is(err, os.ErrExist) {
		err = nil // somebody was faster
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return "", err
	}
	text, err = os.ReadFile(path)
	return string(text), err
}

// errTaken says that a directory is somebody else's.
var errTaken = errors.New("and is to be yours: nothing there is used; have it removed")

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
		if u, err := accounts.ByID(owner); err == nil {
			who = u.Username
		}
		return fmt.Errorf("%s belongs to %s, %w", dir, who, errTaken)
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
	usual := freshRun(uid, name)
	others, _ := filepath.Glob(usual + "-*") // a pattern that is right
	for _, run := range append([]string{filepath.Join("/run/user", uid, "siflet"), usual}, others...) {
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
