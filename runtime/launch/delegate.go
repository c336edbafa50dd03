package launch

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// A container that another OCI runtime runs:
//
//	supervisor -> stage -> RUNTIME create -> the container's process
//	                ^--------- its parent once "create" has ended
//
// The stage mounts the root and what is mounted there from the host, in a bundle that
// nobody else sees, has the runtime create and start the container, and stays as its
// parent: it passes signals on and ends as the process does.

// delegate has the runtime run the container. It returns only an error.
func (s *stage) delegate() error {
	const plain = 0o022
	d := s.p.Delegate
	return inOrder([]step{
		{"prepare", func() error { linux.Umask(plain); return s.entry.scoreOOM() }},
		{"keep orphans", linux.KeepOrphans},
		{"open sources", s.openSources},
		{"isolate mounts", isolate},
		{"hide cgroups", s.hideUnified},
		{"make scratch space", s.makeScratch},
		{"mount root", s.mountRoot},
		{"mount images", s.mountImages},
		{"find user", s.findUser},
		{"make bundle", s.makeBundle},
		{"run " + path.Base(d.Runtime), s.runDelegate},
	})
}

// delegateExec becomes the runtime's exec in the container.
func (s *stage) delegateExec() error {
	d := s.p.Delegate
	if err := s.enter(); err != nil {
		return inStep("enter container", err)
	}
	host := s.root
	root, err := linux.Open(d.Bundle()+"/rootfs", linux.OPath|linux.ODirectory)
	if err != nil {
		return inStep("enter container", err)
	}
	if err := s.entry.findUser(root); err != nil {
		return inStep("find user", err)
	}
	if err := s.entry.openTerminal(host, false); err != nil {
		return inStep("open terminal", err)
	}
	text, err := s.config(root)
	if err != nil {
		return err
	}
	process, err := linux.MemFile("process", []byte(text))
	if err != nil {
		return err
	}
	// Back to where failures are written, and out of the runtime's way.
	if err := errors.Join(linux.MoveTo(statusFD, reportFD), linux.MoveTo(int(process), requestFD)); err != nil {
		return err
	}
	defer func() { _ = linux.MoveTo(reportFD, statusFD) }()
	if err := errors.Join(linux.CloseOnExecFrom(reportFD), linux.UnblockSignals()); err != nil {
		return err
	}
	linux.RestoreFileLimit()
	args := s.command("exec", "--process", "/proc/self/fd/"+strconv.Itoa(requestFD), d.ID)
	image, err := linux.NewImage(d.Runtime, -1, args, delegateEnv())
	if err != nil {
		return err
	}
	return execFailure(d.Runtime, image.Exec())
}

func delegateEnv() []string { return []string{"PATH=" + defaultPath} }

// config is the text for the runtime, with what the image has a say in: the user, as
// its accounts have it, and what starts its process.
func (s *stage) config(root int) (string, error) {
	d, p := s.p.Delegate, &s.p.Process
	args, request := p.Args, ""
	switch {
	case len(p.Action) > 0 && hasContract(root):
		args = []string{program.ActionTarget, program.ActionRequest}
		const most = 120 << 10 // the kernel takes no longer string
		if len(p.Action) > most {
			return "", fail(kindInvalid, fmt.Errorf("%d bytes of arguments and environment are more than %s can be told", len(p.Action), d.Runtime), "start")
		}
		request = string(program.AppendText(nil, program.ActionRequest+"="+string(p.Action))) + ","
	case len(args) == 0:
		return "", fail(kindInvalid, errors.New("no command, and the image names none"), "start")
	}
	list := []byte{'['}
	for i, arg := range args {
		if i > 0 {
			list = append(list, ',')
		}
		list = program.AppendText(list, arg)
	}
	home := string(program.AppendText(nil, s.entry.id.home))
	return strings.NewReplacer(
		`"`+d.Mark+`-user"`, s.userText(), `["`+d.Mark+`-args"]`, string(list)+"]", `"`+d.Mark+`-request",`, request,
		d.Mark+"-home", home[1:len(home)-1],
	).Replace(d.Config), nil
}

func (s *stage) userText() string {
	id := &s.entry.id
	b := append([]byte(`{"uid":`), strconv.FormatUint(uint64(id.uid), 10)...)
	b = strconv.AppendUint(append(b, `,"gid":`...), uint64(id.gid), 10)
	if umask := s.p.Process.Umask; umask != nil {
		b = strconv.AppendUint(append(b, `,"umask":`...), uint64(*umask), 10)
	}
	for i, gid := range id.groups {
		if i == 0 {
			b = append(b, `,"additionalGids":[`...)
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(gid), 10)
	}
	if len(id.groups) > 0 {
		b = append(b, ']')
	}
	return string(append(b, '}'))
}

// makeBundle puts config.json, the root and what is mounted there into the scratch
// space, which is the bundle.
func (s *stage) makeBundle() error {
	for i := range s.p.Mounts {
		m := &s.p.Mounts[i]
		if m.Type == "volume" {
			if err := s.mountVolume(m); err != nil {
				return inStep("mount "+m.Target, err)
			}
			continue
		}
		if s.trees[i] < 0 {
			continue
		}
		if err := s.place(s.trees[i], "m"+strconv.Itoa(i)); err != nil {
			return inStep("mount "+m.Target, err)
		}
	}
	if err := s.place(s.root, "rootfs"); err != nil {
		return err
	}
	if s.p.Process.ActionPath != "" {
		const all = 0o222
		if err := linux.Mknod(s.scratch, program.ReportFile, "p", 0, 0, all, 0, 0); err != nil {
			return fmt.Errorf("%s: %w", program.ReportFile, err)
		}
	}
	text, err := s.config(s.root)
	if err != nil {
		return err
	}
	const private = 0o600
	return linux.Create(s.scratch, "config.json", []byte(text), private)
}

// hideUnified hides cgroup v2 where it is beside v1.
func (s *stage) hideUnified() error {
	if s.p.Delegate.Hide == "" {
		return nil
	}
	dir, err := linux.Open(s.p.Cgroup.Dir, linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	s.unified = linux.FD(dir)
	return linux.Detach(s.p.Delegate.Hide)
}

// place attaches a mount at a new name in the scratch space.
func (s *stage) place(tree int, name string) error {
	st, err := linux.Fstat(tree)
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = linux.Mkdir(s.scratch, name, 0o755)
	} else {
		err = linux.Create(s.scratch, name, nil, 0o644)
	}
	if err != nil {
		return err
	}
	at, err := linux.OpenPlain(s.scratch, name, linux.OPath, 0)
	if err != nil {
		return err
	}
	defer linux.Close(at)
	if err := linux.MoveMount(tree, at); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
