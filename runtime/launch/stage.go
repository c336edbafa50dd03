package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// stage is a container in the making.
type stage struct {
	p     *program.Program
	entry *entry

	// trees are the detached mounts of p.Mounts that were opened while the
	// mounts still were peers of the host's; -1 where there is none.
	trees []int
	// cgroups are the opened files of p.Cgroup.Join.
	cgroups []int
	// hierarchies are detached mounts of the container's v1 cgroups.
	hierarchies []hierarchyTree
	// hostDevices are those of p.Devices, likewise.
	hostDevices []int
	// unified is the container's v2 cgroup, if that is to be hidden.
	unified linux.FD
	scratch int // a tmpfs: layers' mount points, upper layer, files
	root    int // the container's root mount
	// user is the container's user namespace, to which ids are mapped; 0 without.
	user linux.FD
	// inside is set in that user namespace.
	inside bool
	// mapping is the last one made for a mount.
	mapping mapping
	names   int // of things in scratch
}

// openCgroup opens the way into the cgroup while the host's /sys is in sight.
// On v1 it leads there for this thread alone, the one that execs: moving a
// whole process makes the kernel wait for all processors.
func (s *stage) openCgroup() error {
	for _, procs := range s.p.Cgroup.Join {
		fd, err := linux.Open(procs, os.O_WRONLY)
		if err != nil {
			return err
		}
		s.cgroups = append(s.cgroups, fd)
	}
	return nil
}

func (s *stage) joinCgroup() error {
	for i, fd := range s.cgroups {
		if err := linux.WriteAll(fd, []byte("0")); err != nil {
			return fmt.Errorf("%s: %w", s.p.Cgroup.Join[i], err)
		}
		linux.Close(fd)
	}
	if s.p.Namespaces.Cgroup {
		return linux.NewCgroupNamespace()
	}
	return nil
}

// enter joins the container of an exec.
func (s *stage) enter() error {
	if s.entry.entered {
		var err error
		s.root, err = linux.Open("/", linux.OPath|linux.ODirectory)
		return err
	}
	return s.join()
}

func (s *stage) join() error {
	if err := linux.JoinContainer(namespaceFD); err != nil {
		if errors.Is(err, linux.ESRCH) {
			return fail(kindNotRunning, errors.New("the container's process has ended"), "enter container")
		}
		return err
	}
	root, err := linux.Open("/", linux.OPath|linux.ODirectory)
	s.root = root
	return err
}

// makeScratch makes a tmpfs for what the container's mounts are made of. It is used
// through its descriptor, but has to be somewhere in the mount namespace: overlay
// asks that of its layers. Over /sys (or in the bundle, for hooks) it hides nothing the stage still needs, and
// it goes with the old root.
func (s *stage) makeScratch() error {
	options := []string{"mode=755"}
	switch size := s.p.Root.TmpfsSize; {
	case size > 0:
		options = append(options, "size="+strconv.FormatInt(size, 10))
	case s.p.Root.Readonly || s.p.Root.Upper != "" || s.p.Root.Direct:
		options = append(options, "size=64m")
	}
	fd, err := linux.NewMount("tmpfs", s.labelled(options), linux.Attr{NoSuid: s.p.Root.NoSuid})
	if err != nil {
		return err
	}
	place := "/sys"
	switch {
	case s.p.Delegate != nil:
		place = s.p.Delegate.Bundle()
	case s.p.Restore != nil:
		place = s.p.Restore.Scratch // criu needs the host's
	case s.p.Hooks != nil:
		place = s.p.Hooks.Bundle + "/scratch" // hooks may want to look at the host's
	}
	host, err := linux.Open(place, linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(host)
	if err := linux.MoveMount(fd, host); err != nil {
		return err
	}
	s.scratch = fd
	return linux.Fchdir(fd)
}

// scratchDir makes a directory in the scratch space and opens it.
func (s *stage) scratchDir() (name string, fd int, err error) {
	name = strconv.Itoa(s.names)
	s.names++
	if err := linux.Mkdir(s.scratch, name, 0o755); err != nil {
		return "", -1, err
	}
	fd, err = linux.OpenPlain(s.scratch, name, linux.OPath|linux.ODirectory, 0)
	return name, fd, err
}

// makeCwd makes the working directory while the root can still be written.
func (s *stage) makeCwd() error {
	if !s.p.Process.CreateCwd || s.p.Process.Cwd == "" {
		return nil
	}
	fd, err := linux.MakeIn(s.root, s.p.Process.Cwd, true)
	if err != nil {
		// There may be a fallback; who enters it reports what is missing.
		if len(s.p.Process.CwdFallback) > 0 {
			return nil
		}
		kind := ""
		if isMisplaced(err) {
			kind = kindInvalid
		}
		return fail(kind, err, "create working directory %q", s.p.Process.Cwd)
	}
	linux.Close(fd)
	return nil
}

// openTerminal makes the container's terminal, which its /dev/console is too.
func (s *stage) openTerminal() error { return s.entry.openTerminal(s.root, s.freshDev()) }

// sealRoot sets what may only be set once nothing is left to write.
func (s *stage) sealRoot() error {
	a := linux.Attr{Readonly: s.p.Root.Readonly}
	switch s.p.Root.Propagation {
	case "", "private":
	case "slave":
		a.Propagation = linux.Slave
	case "shared":
		a.Propagation = linux.Shared
	default:
		return fail(kindInvalid, fs.ErrInvalid, "root propagation %q", s.p.Root.Propagation)
	}
	return linux.MountSetattr(s.root, a, false)
}
