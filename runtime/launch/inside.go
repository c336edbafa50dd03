package launch

import (
	"errors"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// InsideMain is Main for a container in a user namespace, whose root this process
// is. What takes the host's privileges comes over descriptor 6; see outside.go.
// It is in the container's cgroup from its birth.
func InsideMain() int { return run(inside) }

func inside(p *program.Program) error {
	s := &stage{p: p, scratch: -1, root: -1, entry: newEntry(&p.Process), inside: true}
	p.Cgroup.Join = nil // it was born there
	return inOrder(s.rest([]step{
		{"isolate mounts", isolate},
		{"make scratch space", s.makeScratch},
		{"take over mounts", s.takeOver},
		{"prepare", s.entry.prepare},
		{"set sysctls", s.setSysctls},
	}))
}

// takeOver receives what was prepared outside, or why it was not.
func (s *stage) takeOver() error {
	none := func(n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = -1
		}
		return list
	}
	s.trees, s.hostDevices = none(len(s.p.Mounts)), none(len(s.p.Devices))
	const longest = 64 << 10
	b := make([]byte, longest)
	link := linux.FD(sixthFD)
	defer linux.Close(sixthFD)
	for {
		if err := link.AwaitInput(-1); err != nil {
			return err
		}
		n, fds, err := link.ReceiveFDs(b)
		switch {
		case err != nil:
			return err
		case n == 0:
			return errors.New("the process that makes them has ended")
		}
		what := string(b[:n])
		switch {
		case what == linkEnd:
			return s.mountReceived()
		case len(fds) == 1:
			err = s.received(what, int(fds[0]))
		default:
			err = decodeFailure(b[:n])
		}
		if err != nil {
			return err
		}
	}
}

func (s *stage) received(what string, fd int) error {
	number := func(prefix string, list []int) bool {
		text, ok := strings.CutPrefix(what, prefix)
		n, err := strconv.Atoi(text)
		if !ok || err != nil || n < 0 || n >= len(list) {
			return false
		}
		list[n] = fd
		return true
	}
	name, isGroup := strings.CutPrefix(what, linkGroup)
	switch {
	case what == linkRoot:
		s.root = fd
	case what == linkAction:
		s.entry.action = fd
	case isGroup:
		s.hierarchies = append(s.hierarchies, hierarchyTree{name, fd})
	case !number(linkTree, s.trees) && !number(linkDevice, s.hostDevices):
		return errors.New("not understood: " + strconv.Quote(what))
	}
	return nil
}

// mountReceived puts the root somewhere, so that more can be mounted in it.
func (s *stage) mountReceived() error {
	if s.root < 0 {
		return errors.New("no root among them")
	}
	_, at, err := s.scratchDir()
	if err != nil {
		return err
	}
	defer linux.Close(at)
	return linux.MoveMount(s.root, at)
}

// decodeFailure is the failure that the other process reports.
func decodeFailure(text []byte) error {
	f, err := program.DecodeFailure(text)
	if err != nil {
		return err
	}
	return f
}
