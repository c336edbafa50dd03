package program

// Decode reads a program as encoding/json would, faster in a new process.
// Fields it does not know are skipped.
func Decode(data []byte) (*Program, error) {
	s := &scanner{data: data}
	p := new(Program)
	s.object(func(key string) { p.field(s, key) })
	if err := s.end(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Program) field(s *scanner, key string) {
	switch key {
	case "version":
		p.Version = int(s.signed())
	case "cgroup":
		s.object(func(key string) { p.Cgroup.field(s, key) })
	case "namespaces":
		s.object(func(key string) { p.Namespaces.field(s, key) })
	case "root":
		s.object(func(key string) { p.Root.field(s, key) })
	case "mounts":
		p.Mounts = list(s, func(m *Mount) { s.object(func(key string) { m.field(s, key) }) })
	case "devices":
		p.Devices = list(s, func(d *Device) { s.object(func(key string) { d.field(s, key) }) })
	case "files":
		p.Files = list(s, func(f *File) { s.object(func(key string) { f.field(s, key) }) })
	case "accounts":
		p.Accounts = s.accounts()
	case "masked_paths":
		p.MaskedPaths = s.strs()
	case "readonly_paths":
		p.ReadonlyPaths = s.strs()
	case "sysctls":
		s.object(func(key string) {
			if p.Sysctls == nil {
				p.Sysctls = map[string]string{}
			}
			p.Sysctls[key] = s.str()
		})
	case "process":
		s.object(func(key string) { p.Process.field(s, key) })
	default:
		s.skip()
	}
}

func (c *Cgroup) field(s *scanner, key string) {
	switch key {
	case "join":
		c.Join = s.strs()
	case "dir":
		c.Dir = s.str()
	case "procs":
		c.Procs = s.str()
	case "kill":
		c.Kill = s.str()
	case "oom":
		c.OOM = s.str()
	default:
		s.skip()
	}
}

func (n *Namespaces) field(s *scanner, key string) {
	switch key {
	case "pid":
		n.PID = PIDMode(s.str())
	case "target":
		n.Target = s.str()
	case "cgroup":
		n.Cgroup = s.boolean()
	default:
		s.skip()
	}
}

func (r *Root) field(s *scanner, key string) {
	switch key {
	case "extents":
		r.Extents = s.extents()
	case "dir":
		r.Dir = s.str()
	case "upper":
		r.Upper = s.str()
	case "work":
		r.Work = s.str()
	case "volatile":
		r.Volatile = s.boolean()
	case "tmpfs_size":
		r.TmpfsSize = s.signed()
	case "readonly":
		r.Readonly = s.boolean()
	case "nosuid":
		r.NoSuid = s.boolean()
	case "nodev":
		r.NoDev = s.boolean()
	case "propagation":
		r.Propagation = s.str()
	default:
		s.skip()
	}
}

func (s *scanner) extents() []Extent {
	return list(s, func(e *Extent) {
		s.object(func(key string) {
			switch key {
			case "path":
				e.Path = s.str()
			case "offset":
				e.Offset = s.signed()
			case "size":
				e.Size = s.signed()
			case "fs":
				e.FS = s.str()
			default:
				s.skip()
			}
		})
	})
}

func (m *Mount) field(s *scanner, key string) {
	switch key {
	case "type":
		m.Type = s.str()
	case "source":
		m.Source = s.str()
	case "target":
		m.Target = s.str()
	case "data":
		m.Data = s.str()
	case "recursive":
		m.Recursive = s.boolean()
	case "readonly":
		m.Readonly = s.boolean()
	case "recursive_readonly":
		m.RecursiveReadonly = s.boolean()
	case "nosuid":
		m.NoSuid = s.boolean()
	case "nodev":
		m.NoDev = s.boolean()
	case "noexec":
		m.NoExec = s.boolean()
	case "propagation":
		m.Propagation = s.str()
	case "optional":
		m.Optional = s.boolean()
	case "image":
		m.Image = s.extents()
	default:
		s.skip()
	}
}

func (d *Device) field(s *scanner, key string) {
	switch key {
	case "path":
		d.Path = s.str()
	case "type":
		d.Type = s.str()
	case "major":
		d.Major = s.signed()
	case "minor":
		d.Minor = s.signed()
	case "mode":
		d.Mode = uint32(s.unsigned(32))
	case "uid":
		d.UID = uint32(s.unsigned(32))
	case "gid":
		d.GID = uint32(s.unsigned(32))
	case "host":
		d.Host = s.str()
	default:
		s.skip()
	}
}

func (f *File) field(s *scanner, key string) {
	switch key {
	case "target":
		f.Target = s.str()
	case "data":
		f.Data = s.str()
	case "mode":
		f.Mode = uint32(s.unsigned(32))
	default:
		s.skip()
	}
}

func (s *scanner) accounts() *Accounts {
	if s.word("null") {
		return nil
	}
	a := new(Accounts)
	s.object(func(key string) {
		switch key {
		case "passwd":
			a.Passwd = s.str()
		case "groups":
			a.Groups = s.strs()
		default:
			s.skip()
		}
	})
	return a
}
