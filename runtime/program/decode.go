package program

// Decode reads a program as encoding/json would, faster in a new process.
// Fields it does not know are skipped.
func Decode(data []byte) (*Program, error) {
	s := NewReader(data)
	p := new(Program)
	s.Object(func(key string) { p.field(s, key) })
	if err := s.End(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Program) field(s *Reader, key string) {
	switch key {
	case "version":
		p.Version = int(s.Int())
	case "cgroup":
		p.Cgroup.Read(s)
	case "namespaces":
		s.Object(func(key string) { p.Namespaces.field(s, key) })
	case "root":
		s.Object(func(key string) { p.Root.field(s, key) })
	case "mounts":
		p.Mounts = list(s, func(m *Mount) { s.Object(func(key string) { m.field(s, key) }) })
	case "devices":
		p.Devices = list(s, func(d *Device) { s.Object(func(key string) { d.field(s, key) }) })
	case "files":
		p.Files = list(s, func(f *File) { s.Object(func(key string) { f.field(s, key) }) })
	case "accounts":
		p.Accounts = s.accounts()
	case "masked_paths":
		p.MaskedPaths = s.Texts()
	case "readonly_paths":
		p.ReadonlyPaths = s.Texts()
	case "sysctls":
		s.Object(func(key string) {
			if p.Sysctls == nil {
				p.Sysctls = map[string]string{}
			}
			p.Sysctls[key] = s.Text()
		})
	case "hooks":
		p.Hooks = s.hooks()
	case "process":
		s.Object(func(key string) { p.Process.field(s, key) })
	case "restore":
		if !s.Null() {
			p.Restore = &Restore{}
			s.Object(func(key string) { p.Restore.field(s, key) })
		}
	case "delegate":
		p.Delegate = &Delegate{}
		s.Object(func(key string) { p.Delegate.field(s, key) })
	case "unprivileged":
		p.Unprivileged = s.Bool()
	default:
		s.Skip()
	}
}

func (r *Restore) field(s *Reader, key string) {
	switch key {
	case "criu":
		r.Criu = s.Text()
	case "images":
		r.Images = s.Text()
	case "work":
		r.Work = s.Text()
	case "scratch":
		r.Scratch = s.Text()
	case "stdio":
		r.Stdio = s.Texts()
	default:
		s.Skip()
	}
}

// Read reads a cgroup into c.
func (c *Cgroup) Read(s *Reader) { s.Object(func(key string) { c.field(s, key) }) }

func (c *Cgroup) field(s *Reader, key string) {
	switch key {
	case "join":
		c.Join = s.Texts()
	case "dir":
		c.Dir = s.Text()
	case "procs":
		c.Procs = s.Text()
	case "kill":
		c.Kill = s.Text()
	case "oom":
		c.OOM = s.Text()
	default:
		s.Skip()
	}
}

func (n *Namespaces) field(s *Reader, key string) {
	switch key {
	case "pid":
		n.PID = PIDMode(s.Text())
	case "target":
		n.Target = s.Text()
	case "cgroup":
		n.Cgroup = s.Bool()
	case "hostname":
		n.Hostname = s.Text()
	case "loopback":
		n.Loopback = s.Bool()
	default:
		s.Skip()
	}
}

func (r *Root) field(s *Reader, key string) {
	switch key {
	case "extents":
		r.Extents = s.extents()
	case "dir":
		r.Dir = s.Text()
	case "direct":
		r.Direct = s.Bool()
	case "upper":
		r.Upper = s.Text()
	case "work":
		r.Work = s.Text()
	case "image":
		r.Image = &Extent{}
		s.extent(r.Image)
	case "volatile":
		r.Volatile = s.Bool()
	case "tmpfs_size":
		r.TmpfsSize = s.Int()
	case "readonly":
		r.Readonly = s.Bool()
	case "nosuid":
		r.NoSuid = s.Bool()
	case "nodev":
		r.NoDev = s.Bool()
	case "propagation":
		r.Propagation = s.Text()
	case "label":
		r.Label = s.Text()
	default:
		s.Skip()
	}
}

func (s *Reader) extents() []Extent {
	return list(s, s.extent)
}

func (s *Reader) extent(e *Extent) {
	s.Object(func(key string) {
		switch key {
		case "path":
			e.Path = s.Text()
		case "offset":
			e.Offset = s.Int()
		case "size":
			e.Size = s.Int()
		case "fs":
			e.FS = s.Text()
		case "label":
			e.Label = s.Text()
		case "exact":
			e.Exact = s.Bool()
		default:
			s.Skip()
		}
	})
}

func (m *Mount) field(s *Reader, key string) {
	switch key {
	case "type":
		m.Type = s.Text()
	case "source":
		m.Source = s.Text()
	case "target":
		m.Target = s.Text()
	case "data":
		m.Data = s.Text()
	case "recursive":
		m.Recursive = s.Bool()
	case "readonly":
		m.Readonly = s.Bool()
	case "recursive_readonly":
		m.RecursiveReadonly = s.Bool()
	case "nosuid":
		m.NoSuid = s.Bool()
	case "nodev":
		m.NoDev = s.Bool()
	case "noexec":
		m.NoExec = s.Bool()
	case "propagation":
		m.Propagation = s.Text()
	case "optional":
		m.Optional = s.Bool()
	case "image":
		m.Image = s.extents()
	case "uid_map":
		m.UIDMap = s.Text()
	case "gid_map":
		m.GIDMap = s.Text()
	default:
		s.Skip()
	}
}

func (d *Device) field(s *Reader, key string) {
	switch key {
	case "path":
		d.Path = s.Text()
	case "type":
		d.Type = s.Text()
	case "major":
		d.Major = s.Int()
	case "minor":
		d.Minor = s.Int()
	case "mode":
		d.Mode = uint32(s.Uint(32))
	case "uid":
		d.UID = uint32(s.Uint(32))
	case "gid":
		d.GID = uint32(s.Uint(32))
	case "host":
		d.Host = s.Text()
	default:
		s.Skip()
	}
}

func (f *File) field(s *Reader, key string) {
	switch key {
	case "target":
		f.Target = s.Text()
	case "data":
		f.Data = s.Text()
	case "mode":
		f.Mode = uint32(s.Uint(32))
	default:
		s.Skip()
	}
}

func (s *Reader) accounts() *Accounts {
	if s.Null() {
		return nil
	}
	a := new(Accounts)
	s.Object(func(key string) {
		switch key {
		case "passwd":
			a.Passwd = s.Text()
		case "groups":
			a.Groups = s.Texts()
		default:
			s.Skip()
		}
	})
	return a
}
