package supervisor

import (
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// InitName is the name of PID 1 of an instance's PID namespace.
	InitName = "sinit"
	roleInit = "init"
	// What sinit tells, each with a number: how an orphan ended, likewise that of the
	// last one, and that it passes on a signal which asks to end.
	initOrphan     = 'o'
	initAlone      = 'a'
	initTerminates = 't'
	// OwnMounts is a further argument of one that has a mount namespace of its own.
	OwnMounts = "own-mounts"
	// leaving is how often sinit looks whether everybody else has gone, once
	// it was told to end.
	leaving = 20 * time.Millisecond
)

// ChildEnv keeps Go's runtime small in the processes we start.
func ChildEnv() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }

// Init is the life of sinit: it collects orphans and passes signals on to
// every process of its PID namespace. It returns once a terminating signal
// has come and nobody else is left. The process was started by a supervisor;
// ownMounts says that it is in a mount namespace of its own.
func Init(ownMounts bool) error {
	_ = linux.SetName(InitName)
	_ = linux.DisableTHP()
	if err := linux.DieWithParent(3); err != nil {
		return err
	}
	signals, err := linux.NoteSignals(linux.SentSignals())
	if err != nil {
		return err
	}
	// Errors were for the supervisor's log, which is a file of the host's.
	if err := linux.MoveTo(1, 2); err != nil {
		return err
	}
	if err := linux.Confine(ownMounts); err != nil {
		return err
	}
	if _, err := linux.FD(3).Write([]byte{1}); err != nil {
		return err
	}
	timeout := time.Duration(-1)
	for {
		if err := signals.AwaitInput(timeout); err != nil {
			return err
		}
		for {
			sig, err := signals.NextSignal()
			if err != nil {
				break
			}
			if linux.IsChildSignal(sig) {
				continue
			}
			if linux.Terminates(sig) {
				timeout = leaving
				tell(initTerminates, sig) // before anybody ends by it
			}
			linux.SignalEverybody(sig)
		}
		switch code, ended := linux.ReapOrphans(); {
		case ended && linux.Alone():
			tell(initAlone, code)
		case ended:
			tell(initOrphan, code)
		}
		if timeout >= 0 && linux.Alone() {
			return nil
		}
	}
}

// tell writes to the supervisor, if it listens; it never waits.
func tell(what byte, number int) { _, _ = linux.FD(3).Write([]byte{what, byte(number)}) }
