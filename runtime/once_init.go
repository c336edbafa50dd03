package runtime

import (
	"errors"
	"fmt"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// onceInit is PID 1 of the PID namespace that a process is born in.
type onceInit struct {
	process *linux.Child
	pidfd   linux.FD
}

// startInit starts sinit if the process is to have a PID namespace of its own.
// end kills it, and with it whoever is left in there.
func (o *once) startInit(exe linux.FD, p *planned) (end func(), err error) {
	if o.cfg.NoInit || p.program.Namespaces.PID != program.PIDContainer {
		return func() {}, nil
	}
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return nil, err
	}
	pid, pidfd, err := linux.Fork("", &linux.ForkAttr{
		Exe:  exe,
		Args: []string{supervisor.InitName, "init", supervisor.OwnMounts}, Env: supervisor.ChildEnv(),
		Files: []linux.FD{null, null, null, theirs}, CloneFlags: linux.CloneNewPID | linux.CloneNewMount, PIDNamespace: linux.NoFD, Setsid: true,
		Own: o.own,
	})
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", supervisor.InitName, err), ours.Close())
	}
	process := linux.NewChild(pid, pidfd)
	end = func() {
		// Our end of the socket is how sinit sees that we are gone.
		_ = errors.Join(process.Kill(), ours.Close())
		_, _, _ = process.Wait()
		_ = process.Close()
	}
	// What it has must be out of reach before anybody else is in there.
	var ready [1]byte
	if n, err := ours.Read(ready[:]); n != 1 {
		end()
		return nil, errors.Join(errors.New(supervisor.InitName+" did not come up"), err)
	}
	o.init = &onceInit{process: process, pidfd: pidfd}
	return end, nil
}
