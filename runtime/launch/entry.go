package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// entry is the process that a stage ends up as. It serves both stages: it
// knows the container's root but not how it was made.
type entry struct {
	p      *program.Process
	env    []string
	id     identity
	caps   linux.Caps
	action int // siflet-action, opened on the host; -1 without
	umask  int // of the caller, then of the process
	hooks  *program.Hooks
	label  int // where the exec's LSM label is written; -1 without
	open   int // lists what is open; -1 where nothing of the host's is
	// entered says that the process was born in the container's mounts: /proc is what
	// the container has made of it.
	entered bool

	labelText, labelStep string
}

// plainUmask is for a stage's own files, whatever the caller's is.
const plainUmask = 0o022

func newEntry(p *program.Process) *entry {
	return &entry{p: p, env: p.Env, action: -1, label: -1, open: -1}
}

// prepare opens and sets what needs the host's /proc and file system.
func (e *entry) prepare() (err error) {
	if !e.entered {
		if e.open, err = linux.OpenDescriptors(); err != nil {
			return err
		}
	}
	e.umask = linux.Umask(plainUmask)
	if !e.p.User.Keep {
		// A person's own processes keep their keys: AFS and Kerberos need them.
		if e.p.SELinux != "" {
			if err := linux.SetKeyLabel(e.p.SELinux, e.entered); err != nil {
				return fail(kindInvalid, err, "apply SELinux label %s", e.p.SELinux)
			}
		}
		if err := linux.NewKeyring(); err != nil {
			return err
		}
	}
	if !e.entered { // else whoever made it has seen to that
		if err := e.scoreOOM(); err != nil {
			return err
		}
	}
	if err := e.openLabel(); err != nil {
		return err
	}
	if err := e.openAction(); err != nil {
		return err
	}
	return e.wantedCaps()
}

// openAction opens siflet-action, if it is wanted and not there yet.
func (e *entry) openAction() error {
	if len(e.p.Action) == 0 || e.p.ActionPath == "" || e.action >= 0 {
		return nil
	}
	// From a read-only mount of its own: the container can't write to the
	// host's program through /proc/self/exe (CVE-2019-5736).
	action, err := linux.ReadOnlyClone(e.p.ActionPath)
	if err != nil {
		return err
	}
	e.action = int(action)
	return nil
}

func (e *entry) scoreOOM() error {
	score := e.p.OOMScoreAdj
	if score == nil {
		// What protects the supervisor is not meant for its containers.
		return linux.ResetOOMScoreAdj()
	}
	// Without the privilege to lower it the score stays as it is, which is
	// better than no container.
	if _, err := linux.SetOOMScoreAdj(*score); err != nil {
		return fail(kindInvalid, err, "set oom score %d", *score)
	}
	return nil
}

func (e *entry) openLabel() (err error) {
	profile := e.p.AppArmor
	switch {
	case profile != "" && profile != "unconfined":
		e.labelText, e.labelStep = "exec "+profile, "apply AppArmor profile "+profile
		e.label, err = linux.OpenExecLabel(true, e.entered)
	case e.p.SELinux != "":
		e.labelText, e.labelStep = e.p.SELinux, "apply SELinux label "+e.p.SELinux
		e.label, err = linux.OpenExecLabel(false, e.entered)
	}
	if err != nil {
		return fail(kindInvalid, err, "%s", e.labelStep)
	}
	return nil
}

// wantedCaps cuts the capabilities asked for down to those there are.
func (e *entry) wantedCaps() error {
	c := e.p.Capabilities
	if c == nil {
		return nil
	}
	permitted, err := linux.PermittedCaps()
	if err != nil {
		return err
	}
	if c.All {
		e.caps = linux.Caps{Bounding: ^linux.CapSet(0), Effective: permitted, Permitted: permitted}
		return nil
	}
	for _, set := range []struct {
		names []string
		into  *linux.CapSet
	}{
		{c.Bounding, &e.caps.Bounding},
		{c.Effective, &e.caps.Effective},
		{c.Permitted, &e.caps.Permitted},
		{c.Inheritable, &e.caps.Inheritable},
		{c.Ambient, &e.caps.Ambient},
	} {
		caps, err := linux.ParseCaps(set.names)
		if err != nil {
			return fail(kindInvalid, err, "set capabilities")
		}
		*set.into = caps & permitted
	}
	// What the kernel demands of the sets.
	e.caps.Effective &= e.caps.Permitted
	e.caps.Inheritable &= e.caps.Bounding
	e.caps.Ambient &= e.caps.Permitted & e.caps.Inheritable
	return nil
}

// findUser looks the user up in the container, whose root directory is root.
func (e *entry) findUser(root int) error {
	hasHome := false
	for _, v := range e.env {
		if value, ok := strings.CutPrefix(v, "HOME="); ok && value != "" {
			hasHome = true
		}
	}
	needHome := e.p.HomeFromPasswd && !hasHome
	if e.p.User.Keep && !needHome {
		return nil
	}
	a, err := readAccounts(root)
	if err != nil {
		return err
	}
	if e.id, err = resolveUser(&e.p.User, a); err != nil {
		return err
	}
	if needHome {
		e.env = append(slices.Clip(e.env), "HOME="+e.id.home)
	}
	return nil
}

// openTerminal makes a terminal, hands its master to whoever started the stage, and
// makes it the process's stdio and, if console, the container's /dev/console.
func (e *entry) openTerminal(root int, console bool) error {
	if !e.p.Terminal {
		return nil
	}
	if err := linux.Setsid(); err != nil {
		return err
	}
	master, slave, err := linux.OpenTerminal(root)
	if err != nil {
		return err
	}
	defer linux.Close(master, slave)
	if e.p.Rows > 0 || e.p.Cols > 0 {
		if err := linux.FD(master).SetSize(e.p.Rows, e.p.Cols); err != nil {
			return fmt.Errorf("set size: %w", err)
		}
	}
	if !e.p.User.Keep {
		if err := linux.Chown(slave, int(e.id.uid), -1); err != nil {
			return fmt.Errorf("chown: %w", err)
		}
	}
	if console {
		if err := attachConsole(root, slave); err != nil {
			return fmt.Errorf("attach /dev/console: %w", err)
		}
	}
	if err := linux.ControlTerminal(slave); err != nil {
		return err
	}
	for fd := range 3 {
		if err := linux.MoveTo(slave, fd); err != nil {
			return err
		}
	}
	_, err = linux.FD(statusFD).SendFDs([]byte{'T'}, linux.FD(master))
	return err
}

func attachConsole(root, slave int) error {
	tree, err := linux.OpenTree(slave, "", false)
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	target, err := linux.MakeIn(root, "/dev/console", false)
	if err != nil {
		return err
	}
	defer linux.Close(target)
	return linux.MoveMount(tree, target)
}

// enterCwd tries the working directory and its fallbacks.
func (e *entry) enterCwd() error {
	cwd := e.p.Cwd
	if cwd == "" {
		cwd = "/"
	}
	first := linux.Chdir(cwd)
	if first == nil {
		return nil
	}
	for _, fallback := range e.p.CwdFallback {
		if linux.Chdir(fallback) == nil {
			return nil
		}
	}
	kind := kindOf(first)
	if errors.Is(first, fs.ErrPermission) {
		kind = kindPermission
	}
	return fail(kind, first, "enter working directory %q", cwd)
}
