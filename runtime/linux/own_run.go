package linux

import (
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
)

// InsideProcess is this program once more, as somebody else.
type InsideProcess struct {
	Args, Env []string
	// Files are descriptors that it has too, beside the caller's stdio.
	Files []int
	// Signals are passed on to it.
	Signals <-chan os.Signal
}

// RunInside runs this process's program in namespaces and in a mount namespace that
// belongs to them, and returns how it ended. It dies with the caller.
func RunInside(own *OwnNamespaces, p InsideProcess) (code, signal int, err error) {
	goruntime.LockOSThread() // whose end would be the child's
	defer goruntime.UnlockOSThread()
	files := []FD{0, 1, 2}
	for fd := len(files); fd <= slices.Max(append(p.Files, 0)); fd++ {
		if slices.Contains(p.Files, fd) {
			files = append(files, FD(fd))
		} else {
			files = append(files, NoFD)
		}
	}
	pid, pidfd, err := Fork("/proc/self/exe", &ForkAttr{
		Args: p.Args, Env: p.Env, Files: files, CloneFlags: CloneNewMount, PIDNamespace: NoFD, Own: own,
	})
	if err != nil {
		return 0, 0, fmt.Errorf("start again in a user namespace: %w", err)
	}
	child := NewChild(pid, pidfd)
	defer child.Close() //nolint:errcheck // a pidfd
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s, ok := <-p.Signals:
				if !ok {
					return
				}
				_ = child.Signal(s) // it may have ended
			case <-ended:
				return
			}
		}
	}()
	return child.Wait()
}
