package launch

import (
	"errors"
	"fmt"
	"os"

	"github.com/siflet/siflet/runtime/linux"
)

// start drops what the process is not to have and becomes it.
func (e *entry) start(root int) error {
	linux.RestoreFileLimit()
	if err := e.settle(); err != nil {
		return err
	}
	useOwnNull(root)
	// What can be done before it is done before a filter may forbid it.
	if err := linux.UnblockSignals(); err != nil {
		return err
	}
	if err := linux.CloseOnExecFrom(statusFD); err != nil {
		return err
	}
	useAction := e.action >= 0 && (e.p.ActionAlways || hasContract(root))
	witness := linux.FD(statusFD)
	if useAction {
		if err := e.passRequest(); err != nil {
			return err
		}
		witness = reportFD
		// Back to where failures are written.
		defer func() { _ = linux.MoveTo(reportFD, statusFD) }()
	}
	// The image says what is executed, and could name what is open (CVE-2024-21626).
	if e.open >= 0 {
		if err := linux.CloseOthers(e.open, statusFD, statusFD, int(witness), e.action, e.label); err != nil {
			return err
		}
	}
	if err := e.dropPrivileges(); err != nil {
		return err
	}
	image, what, err := e.image(useAction)
	if err != nil {
		return err
	}
	// The change of user cleared it.
	if err := linux.DieWithParent(witness); err != nil {
		return err
	}
	if e.p.NoNewPrivs {
		if err := linux.NoNewPrivs(); err != nil {
			return err
		}
		if err := e.filter(); err != nil {
			return err
		}
	}
	if e.hooks != nil {
		if err := runHooks("startContainer", "created", e.hooks.State, e.hooks.StartContainer); err != nil {
			return err
		}
	}
	return execFailure(what, image.Exec())
}

// settle sets what needs the stage's privileges and belongs to the process.
func (e *entry) settle() error {
	if e.p.NewSession {
		if err := linux.Setsid(); err != nil {
			return err
		}
	}
	for i := range e.p.Rlimits {
		r := &e.p.Rlimits[i]
		if err := linux.Setrlimit(r.Type, r.Soft, r.Hard); err != nil {
			return fail(kindInvalid, err, "set %s", r.Type)
		}
	}
	if e.p.Umask != nil {
		e.umask = int(*e.p.Umask & 0o777)
	}
	linux.Umask(e.umask)
	if e.p.User.Keep {
		return nil
	}
	// So that the user may open /dev/stdout. Only pipes are ours to give.
	for fd := range 3 {
		st, err := linux.Fstat(fd)
		if err == nil && st.IsFIFO() && st.UID != e.id.uid {
			_ = linux.Chown(fd, int(e.id.uid), -1) // a pipe of somebody else's user namespace
		}
	}
	return nil
}

// useOwnNull makes stdio that is /dev/null the container's own, whose name means
// something there. Where it has none the host's will do.
func useOwnNull(root int) {
	own := -1
	defer func() { linux.Close(own) }()
	for fd := range 3 {
		if !isNull(fd) {
			continue
		}
		if own < 0 {
			var err error
			if own, err = linux.OpenIn(root, "/dev/null", os.O_RDWR|linux.ONoctty, 0); err != nil || !isNull(own) {
				return
			}
		}
		_ = linux.MoveTo(own, fd)
	}
}

func isNull(fd int) bool {
	const major, minor = 1, 3
	st, err := linux.Fstat(fd)
	return err == nil && st.IsDevice("c", major, minor)
}

// hasContract reports whether the image was made by Singularity or its kin.
func hasContract(root int) bool {
	fd, err := linux.OpenIn(root, "/.singularity.d", linux.OPath|linux.ODirectory, 0)
	linux.Close(fd)
	return err == nil
}

func (e *entry) dropPrivileges() error {
	// As root first: the user may lack the permission to enter. As the user
	// then: root may, on a network file system.
	entered := e.enterCwd()
	if entered != nil && failureKind(entered) != kindPermission {
		return entered
	}
	if e.p.Capabilities != nil {
		if err := linux.DropBounding(e.caps.Bounding); err != nil {
			return err
		}
	}
	if err := e.writeLabel(); err != nil {
		return err
	}
	if !e.p.NoNewPrivs {
		// It takes a capability that is about to go.
		if err := e.filter(); err != nil {
			return err
		}
	}
	if err := e.become(); err != nil {
		return err
	}
	if entered != nil {
		return e.enterCwd()
	}
	return nil
}

// become changes to the user, with the capabilities asked for.
func (e *entry) become() error {
	keep := e.p.Capabilities != nil
	if !e.p.User.Keep {
		if err := linux.KeepCaps(keep); err != nil {
			return err
		}
		if err := linux.SetUser(e.id.uid, e.id.gid, e.id.groups); err != nil {
			kind := ""
			if errors.Is(err, linux.EINVAL) {
				kind, err = kindInvalid, fmt.Errorf("not mapped in the user namespace: %w", err)
			}
			return fail(kind, err, "become user %d, group %d", e.id.uid, e.id.gid)
		}
		if err := linux.KeepCaps(false); err != nil {
			return err
		}
	}
	if keep {
		return linux.Capset(e.caps)
	}
	return nil
}

func (e *entry) writeLabel() error {
	if e.label < 0 {
		return nil
	}
	if err := linux.WriteAll(e.label, []byte(e.labelText)); err != nil {
		return fail(kindInvalid, err, "%s", e.labelStep)
	}
	linux.Close(e.label)
	return nil
}

func (e *entry) filter() error {
	if len(e.p.Seccomp) == 0 {
		return nil
	}
	return inStepIf("load seccomp filter", linux.Seccomp(e.p.Seccomp, e.p.SeccompFlags))
}
