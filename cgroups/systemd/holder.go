package systemd

import (
	"context"
	"os/exec"
	"time"
)

// stopTime is what a scope gets between being told to end and being killed. By then
// it is empty as a rule.
const stopTime = 5 * time.Second

// hold starts a process that does nothing until release is called, or until this
// process ends: a scope must begin with one.
func hold(command []string) (pid int, release func(), err error) {
	// It outlives the call that starts it; its input ends it.
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Dir = "/"
	input, err := cmd.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	return cmd.Process.Pid, func() {
		_ = input.Close() // a pipe
		_ = cmd.Wait()    // how it ends is nothing to anybody
	}, nil
}
