package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall" //nolint:depguard // what a process is to be like; no system call
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// sweeperName is what siflet is called, as argv[0], when it waits for another to be gone,
// to remove what that leaves if it is killed.
const sweeperName = "siflet-sweeper"

// startSweeper starts a process that waits for the end of this one, which may execute
// siflet again meanwhile, and then removes directories for what is being made in which
// nobody works from these, as the next one there would. It is in the caller's mount
// namespace: nothing that is mounted in another is in the way, or in danger.
func startSweeper(parents ...string) error {
	var dirs []string
	for _, dir := range parents {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
	}
	theirs, ours, err := linux.NewPipe()
	if err != nil {
		return err
	}
	defer theirs.Close() //nolint:errcheck // a pipe
	null, err := linux.OpenNull()
	if err != nil {
		return errors.Join(err, ours.Close())
	}
	defer null.Close() //nolint:errcheck // /dev/null
	_, err = syscall.ForkExec("/proc/self/exe", append([]string{sweeperName}, dirs...), &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{uintptr(theirs), uintptr(null), uintptr(null)},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", sweeperName, err), ours.Close())
	}
	// Our end is open until this process is gone.
	return linux.MoveTo(int(ours), int(ours))
}

// sweepLater is the sweeper. What the killed one has started may need a moment to end.
func sweepLater(parents []string) {
	if _, err := linux.ReadAll(0, 0); err != nil {
		return
	}
	prefix, err := scratchPrefix()
	if err != nil {
		return
	}
	const tries, pause = 50, 100 * time.Millisecond
	for range tries {
		left := 0
		for _, dir := range parents {
			left += sweep(dir, prefix)
		}
		if left == 0 {
			return
		}
		<-time.After(pause)
	}
}
