package program

import "strconv"

func (p *Process) field(s *Reader, key string) {
	switch key {
	case "args":
		p.Args = s.Texts()
	case "env":
		p.Env = s.Texts()
	case "cwd":
		p.Cwd = s.Text()
	case "create_cwd":
		p.CreateCwd = s.Bool()
	case "cwd_fallback":
		p.CwdFallback = s.Texts()
	case "home_from_passwd":
		p.HomeFromPasswd = s.Bool()
	case "terminal":
		p.Terminal = s.Bool()
	case "rows":
		p.Rows = uint16(s.Uint(16))
	case "cols":
		p.Cols = uint16(s.Uint(16))
	case "user":
		s.Object(func(key string) { p.User.field(s, key) })
	case "new_session":
		p.NewSession = s.Bool()
	case "action":
		p.Action = s.base64()
	case "action_path":
		p.ActionPath = s.Text()
	case "action_always":
		p.ActionAlways = s.Bool()
	default:
		p.privilege(s, key)
	}
}

// privilege reads the fields that say what the process may do.
func (p *Process) privilege(s *Reader, key string) {
	switch key {
	case "umask":
		p.Umask = optional(s, func() uint32 { return uint32(s.Uint(32)) })
	case "capabilities":
		p.Capabilities = s.capabilities()
	case "no_new_privs":
		p.NoNewPrivs = s.Bool()
	case "rlimits":
		p.Rlimits = list(s, func(r *Rlimit) { s.Object(func(key string) { r.field(s, key) }) })
	case "oom_score_adj":
		p.OOMScoreAdj = optional(s, func() int { return int(s.Int()) })
	case "seccomp":
		p.Seccomp = s.base64()
	case "seccomp_flags":
		p.SeccompFlags = uint32(s.Uint(32))
	case "apparmor":
		p.AppArmor = s.Text()
	case "selinux":
		p.SELinux = s.Text()
	default:
		s.Skip()
	}
}

// optional reads a value that may be null.
func optional[T any](s *Reader, read func() T) *T {
	if s.Null() {
		return nil
	}
	v := read()
	return &v
}

func (u *User) field(s *Reader, key string) {
	switch key {
	case "spec":
		u.Spec = s.Text()
	case "uid":
		u.UID = optional(s, func() uint32 { return uint32(s.Uint(32)) })
	case "gid":
		u.GID = optional(s, func() uint32 { return uint32(s.Uint(32)) })
	case "groups":
		u.Groups = s.uints()
	case "strict":
		u.Strict = s.Bool()
	case "keep":
		u.Keep = s.Bool()
	default:
		s.Skip()
	}
}

func (r *Rlimit) field(s *Reader, key string) {
	switch key {
	case "type":
		r.Type = s.Text()
	case "soft":
		r.Soft = s.Uint(64)
	case "hard":
		r.Hard = s.Uint(64)
	default:
		s.Skip()
	}
}

func (s *Reader) capabilities() *Capabilities {
	if s.Null() {
		return nil
	}
	c := new(Capabilities)
	s.Object(func(key string) {
		switch key {
		case "all":
			c.All = s.Bool()
		case "bounding":
			c.Bounding = s.Texts()
		case "effective":
			c.Effective = s.Texts()
		case "permitted":
			c.Permitted = s.Texts()
		case "inheritable":
			c.Inheritable = s.Texts()
		case "ambient":
			c.Ambient = s.Texts()
		default:
			s.Skip()
		}
	})
	return c
}

// Encode writes a failure as JSON, without reflection, for the same reason as
// Decode.
func (f *Failure) Encode() []byte {
	b := AppendText([]byte(`{"step":`), f.Step)
	b = AppendText(append(b, `,"reason":`...), f.Reason)
	if f.Kind != "" {
		b = AppendText(append(b, `,"kind":`...), f.Kind)
	}
	if f.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(f.Code), 10)
	}
	return append(b, '}')
}

// AppendText appends a string as JSON; invalid UTF-8 becomes U+FFFD.
func AppendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// DecodeFailure reads what Encode wrote.
func DecodeFailure(b []byte) (*Failure, error) {
	r, f := NewReader(b), &Failure{}
	r.Object(func(key string) {
		switch key {
		case "step":
			f.Step = r.Text()
		case "reason":
			f.Reason = r.Text()
		case "kind":
			f.Kind = r.Text()
		case "code":
			f.Code = int(r.Int())
		default:
			r.Skip()
		}
	})
	return f, r.End()
}
