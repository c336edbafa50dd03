// Command siflet-instance is the process that every instance pays for. Its
// first argument says which part it plays:
//
//	supervise  (or none) keeps the instance and its containers
//	init       PID 1 of the instance's PID namespace
//	launch     becomes a container
//	wait       does so when it is told what to launch
//	exec       becomes a further process of a container
//	prepare    opens and mounts what a container in a user namespace needs,
//	inside     which becomes that container
//	network    keeps a program that gives an instance without privileges its network
//	hold       waits for the end of its input: systemd wants a scope to begin
//	           with a process
//
// It is started by the engine and by itself, not by people.
//
//go:debug containermaxprocs=0
package main

import (
	"fmt"
	"os"
	goruntime "runtime"
	"slices"

	"github.com/siflet/siflet/runtime/launch"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

func main() { os.Exit(run()) }

func run() int {
	// Namespaces, the signal mask and the parent-death signal of children
	// belong to this thread.
	goruntime.LockOSThread()
	linux.CalmMonitor()
	role := "supervise"
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	var err error
	switch role {
	case "supervise":
		err = supervisor.Supervise()
	case "init":
		err = supervisor.Init(slices.Contains(os.Args[2:], supervisor.OwnMounts))
	case "launch":
		if err = supervisor.PrepareStage(false); err == nil {
			return launch.Main()
		}
	case "wait":
		if err = supervisor.PrepareStage(false); err == nil {
			return launch.WaitMain()
		}
	case "exec":
		if err = supervisor.PrepareStage(slices.Contains(os.Args[2:], supervisor.KeepOrphans)); err == nil {
			return launch.ExecMain(launch.Exec{
				Joined:  slices.Contains(os.Args[2:], supervisor.Joined),
				Entered: slices.Contains(os.Args[2:], supervisor.Entered),
				Action:  slices.Contains(os.Args[2:], supervisor.Action),
			})
		}
	case "prepare":
		if err = supervisor.PrepareStage(false); err == nil {
			return launch.PrepareMain()
		}
	case "inside":
		if err = supervisor.PrepareStage(false); err == nil {
			return launch.InsideMain()
		}
	case "network":
		err = supervisor.Keep(os.Args[2:])
	case "hold":
		buffer := make([]byte, 1)
		for n, err := 1, error(nil); n > 0 && err == nil; {
			n, err = linux.FD(0).Read(buffer)
		}
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		_, _ = linux.FD(2).Write([]byte("siflet-instance: " + err.Error() + "\n"))
		return 1
	}
	return 0
}
