package supervisor

import (
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// InitName is the name of PID 1 of an instance's PID namespace.
	InitName = "sinit"
	roleInit = "init"
	// leaving is how often sinit looks whether everybody else has gone, once
	// it was told to end.
	leaving = 20 * time.Millisecond
)

// childEnv keeps Go's runtime small in the processes we start.
func childEnv() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }

// Init is the life of sinit: it collects orphans and passes signals on to
// every process of its PID namespace. It returns once a terminating signal
// has come and nobody else is left. The process was started by a supervisor,
// with its signals blocked.
func Init() error {
	_ = linux.SetName(InitName)
	_ = linux.DisableTHP()
	if err := linux.DieWithParent(3); err != nil {
		return err
	}
	ending := false
	for {
		timeout := time.Duration(-1)
		if ending {
			timeout = leaving
		}
		sig, err := linux.WaitSignal(timeout)
		if err != nil {
			return err
		}
		linux.ReapOrphans()
		if sig != 0 && !linux.IsChildSignal(sig) {
			linux.SignalEverybody(sig)
			ending = ending || linux.Terminates(sig)
		}
		if ending && linux.Alone() {
			return nil
		}
	}
}
