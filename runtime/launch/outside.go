package launch

import (
	"fmt"
	"strconv"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// A container in a user namespace is launched by two processes. This one has the
// host's privileges: it opens and mounts what takes them, and hands the mounts
// over, detached from any directory. It has descriptors
//
//	3  the link to the other process, a packet socket: where failures go too
//	4  the program
//	5  the mount namespace whose root is the instance's shared memory (optional)
//	6  the user namespace
//
// Each message on the link is a word, what it is about, and the descriptor; the
// last is linkEnd alone.
const (
	linkRoot   = "root"
	linkAction = "action"
	linkTree   = "tree "      // and which of the program's mounts
	linkDevice = "device "    // and which of its devices
	linkGroup  = "hierarchy " // and its name
	linkEnd    = "end"
)

// PrepareMain is the part outside. It returns the process's exit status.
func PrepareMain() int { return run(prepareOutside) }

func prepareOutside(p *program.Program) error {
	s := &stage{p: p, scratch: -1, root: -1, entry: newEntry(&p.Process), user: sixthFD}
	linux.Umask(plainUmask)
	return inOrder([]step{
		{"open siflet-action", s.entry.openAction},
		{"open sources", s.openSources},
		{"isolate mounts", isolate},
		{"make scratch space", s.makeScratch},
		{"mount root", s.mountRoot},
		{"mount images", s.mountImages},
		{"make devices", s.makeNodes},
		{"mount volumes", s.mountVolumes},
		{"hand over", s.handOver},
	})
}

// makeNodes makes the devices' nodes, which nobody may in a user namespace, as
// detached mounts. Everybody's devices belong to the container's root; the
// others keep their owner on the host, who decides with their mode who may use
// them.
func (s *stage) makeNodes() error {
	root, err := linux.Fstat(s.root)
	if err != nil {
		return err
	}
	for i := range s.p.Devices {
		if s.hostDevices[i] >= 0 {
			continue
		}
		d := s.p.Devices[i]
		const everybody = 0o666
		if d.Mode&everybody == everybody && d.UID == 0 && d.GID == 0 {
			d.UID, d.GID = root.UID, root.GID
		}
		if s.hostDevices[i], err = s.makeNode(&d); err != nil {
			return inStep("device "+d.Path, err)
		}
	}
	return nil
}

func (s *stage) makeNode(d *program.Device) (int, error) {
	major, minor, err := deviceNumber(d)
	if err != nil {
		return -1, err
	}
	name := strconv.Itoa(s.names)
	s.names++
	if err := linux.Mknod(s.scratch, name, d.Type, major, minor, d.Mode, d.UID, d.GID); err != nil {
		return -1, err
	}
	return linux.OpenTree(s.scratch, name, false)
}

// mountVolumes mounts those of the image's volumes that have a directory on the
// host, in the name of the container's root.
func (s *stage) mountVolumes() error {
	root, err := linux.Fstat(s.root)
	if err != nil {
		return err
	}
	as := false
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if m.Type != "volume" || m.Source == "" {
			continue
		}
		if !as {
			if err := linux.ActAs(int(root.UID), int(root.GID)); err != nil {
				return err
			}
			as = true
		}
		if err := s.mountVolume(m); err != nil {
			return inStep("mount "+m.Target, err)
		}
	}
	return nil
}

// handOver sends what was made.
func (s *stage) handOver() error {
	// With the volumes in it.
	root, err := linux.OpenTree(s.root, "", true)
	if err != nil {
		return err
	}
	if err := send(linkRoot, root); err != nil {
		return err
	}
	if err := send(linkAction, s.entry.action); err != nil {
		return err
	}
	for i, tree := range s.trees {
		if err := send(linkTree+strconv.Itoa(i), tree); err != nil {
			return err
		}
	}
	for i, tree := range s.hostDevices {
		if err := send(linkDevice+strconv.Itoa(i), tree); err != nil {
			return err
		}
	}
	for _, h := range s.hierarchies {
		if err := send(linkGroup+h.name, h.tree); err != nil {
			return err
		}
	}
	return linux.FD(statusFD).SendPacket([]byte(linkEnd), linux.NoFD)
}

// send passes a descriptor on, if there is one.
func send(what string, fd int) error {
	if fd < 0 {
		return nil
	}
	if err := linux.FD(statusFD).SendPacket([]byte(what), linux.FD(fd)); err != nil {
		return fmt.Errorf("send %s: %w", what, err)
	}
	linux.Close(fd)
	return nil
}
