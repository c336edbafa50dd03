package supervisor

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// userns is the instance's user namespace; without one fd is 0. The supervisor
// stays outside: it starts what needs the host's privileges, and puts its other
// children in.
type userns struct {
	fd       linux.FD
	uid, gid int // of its root, on the host
}

// makeUser makes the user namespace and the namespaces that belong to it.
func (s *server) makeUser() error {
	maps := linux.UserMaps{UID: s.cfg.UIDMap, GID: s.cfg.GIDMap}
	if maps.UID == "" {
		return nil
	}
	var err error
	u := &s.user
	if u.uid, err = rootOf(maps.UID); err == nil {
		u.gid, err = rootOf(maps.GID)
	}
	if err != nil {
		return err
	}
	if !linux.OnMainThread() {
		return errors.New("not on the main thread, whose namespaces are the instance's")
	}
	// Children that enter a user namespace inherit what the limit is now.
	linux.RestoreFileLimit()
	u.fd, err = linux.NewUserNamespace(maps, uintptr(s.cfg.Owned))
	return err
}

// rootOf is the host's id for 0 in a map of one line.
func rootOf(text string) (int, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 || fields[0] != "0" {
		return 0, errors.New("id map " + strconv.Quote(text) + " does not begin at 0")
	}
	return strconv.Atoi(fields[1])
}

// setSysctl sets a kernel parameter. Those of the network ask for a capability
// that the host's root has too, those of IPC for the namespace's own root.
func (u *userns) setSysctl(key, value string) error {
	err := linux.SetSysctl(key, value)
	if u.fd > 0 && errors.Is(err, linux.EACCES) {
		return linux.AsUser(u.uid, u.gid, func() error { return linux.SetSysctl(key, value) })
	}
	return err
}

// owner are options that give a tmpfs to the namespace's root.
func (u *userns) owner() string {
	if u.fd <= 0 {
		return ""
	}
	return ",uid=" + strconv.Itoa(u.uid) + ",gid=" + strconv.Itoa(u.gid)
}

// give makes pipes the namespace's root's, who can give them on to the process's
// user, so that that may open /dev/stdout.
func (u *userns) give(files []linux.FD) {
	for _, f := range files {
		if f.Kind() == linux.KindPipe {
			_ = linux.Chown(int(f), u.uid, u.gid)
		}
	}
}

// forkInside forks a stage that has the instance's user namespace, and is in its
// cgroup at once. To launch a container takes privileges outside, for loop
// devices, sources and layers. So there are two processes:
//
//	prepare  outside: 3 the link, 4 the program, 5 as for a launch, 6 the user namespace
//	inside   a stage: 3 4 as any, 6 the link
//
// Over the link, a socket that keeps messages apart, mounts go inside, or the
// failure of the first, which becomes that of the second. An exec has
// siflet-action as 6. It is born in the container's mounts, also without a user
// namespace: those who may trace others there find nothing of the host's through it.
func (s *server) forkInside(spec *stageSpec, report, prog linux.FD) (pid int, pidfd linux.FD, err error) {
	if s.user.fd > 0 {
		s.user.give(spec.stdio[:])
	}
	attr := &linux.ForkAttr{
		OOMScore:      s.score(spec.score),
		Args:          append(spec.args(), Joined),
		Env:           ChildEnv(),
		Files:         append(spec.stdio[:], report, prog, spec.extra),
		CloneFlags:    spec.clone,
		PIDNamespace:  spec.pidns,
		Lone:          s.lone(),
		CgroupDir:     spec.cgroup.Dir,
		Setsid:        true,
		UserNamespace: s.user.fd,
	}
	var sixth linux.FD
	switch {
	case spec.role == roleLaunch:
		if sixth, err = s.prepare(spec); err != nil {
			return 0, linux.NoFD, err
		}
		attr.Args[1], attr.Files[5] = roleInside, linux.NoFD
	case spec.action == "":
		sixth = linux.NoFD
	default:
		if sixth, err = linux.ReadOnlyClone(spec.action); err != nil {
			return 0, linux.NoFD, err
		}
		attr.Args = append(attr.Args, Action)
	}
	if spec.enter {
		attr.Args, attr.Within, attr.Exe = append(attr.Args, Entered), spec.extra, s.exe
	}
	defer sixth.Close() //nolint:errcheck // the child has its copy
	attr.Files = append(attr.Files, sixth)
	if attr.CgroupDir == "" || !slices.Contains(spec.cgroup.Join, attr.CgroupDir+"/cgroup.procs") {
		defer func() { closeAll(attr.Join) }()
		for _, name := range spec.cgroup.Join {
			f, err := linux.OpenWriteOnly(name)
			if err != nil {
				return 0, linux.NoFD, err
			}
			attr.Join = append(attr.Join, f)
		}
	}
	if spec.enter {
		return linux.Fork("", attr)
	}
	return linux.Fork("/proc/self/exe", attr)
}

// score is what to write for a child that is to have an oom_score_adj. What protects
// the supervisor is not meant for its containers.
func (s *server) score(wanted *int) string {
	if wanted != nil {
		return strconv.Itoa(*wanted)
	}
	if own, _ := linux.OOMScoreFloor(); own < 0 {
		return "0"
	}
	return ""
}

// prepare starts the process that launches a container's outer half, and returns
// the inner half's end of the link.
func (s *server) prepare(spec *stageSpec) (linux.FD, error) {
	near, far, err := linux.PacketPair()
	if err != nil {
		return linux.NoFD, err
	}
	defer far.Close() //nolint:errcheck // the child has its copy
	prog, err := spec.file()
	if err != nil {
		return linux.NoFD, errors.Join(err, near.Close())
	}
	defer prog.Close() //nolint:errcheck // the child has its copy
	null, err := s.openNull()
	if err != nil {
		return linux.NoFD, errors.Join(err, near.Close())
	}
	defer null.Close() //nolint:errcheck // the child has its copy
	p := &process{s: s, ended: func(*Exit) {}}
	p.pid, p.pidfd, err = linux.Fork("/proc/self/exe", &linux.ForkAttr{
		Args: []string{StageName, rolePrepare}, Env: ChildEnv(),
		Files:      []linux.FD{null, null, null, far, prog, spec.extra, s.user.fd},
		CloneFlags: linux.CloneNewMount, PIDNamespace: linux.NoFD, Setsid: true,
	})
	if err == nil {
		err = s.loop.watch(p.pidfd, linux.EventIn, p)
	}
	if err != nil {
		return linux.NoFD, errors.Join(err, near.Close())
	}
	return near, nil
}
