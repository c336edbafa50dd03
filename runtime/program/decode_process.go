package program

import "strconv"

func (p *Process) field(s *scanner, key string) {
	switch key {
	case "args":
		p.Args = s.strs()
	case "env":
		p.Env = s.strs()
	case "cwd":
		p.Cwd = s.str()
	case "create_cwd":
		p.CreateCwd = s.boolean()
	case "cwd_fallback":
		p.CwdFallback = s.strs()
	case "home_from_passwd":
		p.HomeFromPasswd = s.boolean()
	case "terminal":
		p.Terminal = s.boolean()
	case "rows":
		p.Rows = uint16(s.unsigned(16))
	case "cols":
		p.Cols = uint16(s.unsigned(16))
	case "user":
		s.object(func(key string) { p.User.field(s, key) })
	case "new_session":
		p.NewSession = s.boolean()
	case "action":
		p.Action = s.base64()
	case "action_path":
		p.ActionPath = s.str()
	case "action_always":
		p.ActionAlways = s.boolean()
	default:
		p.privilege(s, key)
	}
}

// privilege reads the fields that say what the process may do.
func (p *Process) privilege(s *scanner, key string) {
	switch key {
	case "umask":
		p.Umask = optional(s, func() uint32 { return uint32(s.unsigned(32)) })
	case "capabilities":
		p.Capabilities = s.capabilities()
	case "no_new_privs":
		p.NoNewPrivs = s.boolean()
	case "rlimits":
		p.Rlimits = list(s, func(r *Rlimit) { s.object(func(key string) { r.field(s, key) }) })
	case "oom_score_adj":
		p.OOMScoreAdj = optional(s, func() int { return int(s.signed()) })
	case "seccomp":
		p.Seccomp = s.base64()
	case "seccomp_flags":
		p.SeccompFlags = uint32(s.unsigned(32))
	case "apparmor":
		p.AppArmor = s.str()
	case "selinux":
		p.SELinux = s.str()
	default:
		s.skip()
	}
}

// optional reads a value that may be null.
func optional[T any](s *scanner, read func() T) *T {
	if s.word("null") {
		return nil
	}
	v := read()
	return &v
}

func (u *User) field(s *scanner, key string) {
	switch key {
	case "spec":
		u.Spec = s.str()
	case "uid":
		u.UID = optional(s, func() uint32 { return uint32(s.unsigned(32)) })
	case "gid":
		u.GID = optional(s, func() uint32 { return uint32(s.unsigned(32)) })
	case "groups":
		u.Groups = s.uints()
	case "strict":
		u.Strict = s.boolean()
	case "keep":
		u.Keep = s.boolean()
	default:
		s.skip()
	}
}

func (r *Rlimit) field(s *scanner, key string) {
	switch key {
	case "type":
		r.Type = s.str()
	case "soft":
		r.Soft = s.unsigned(64)
	case "hard":
		r.Hard = s.unsigned(64)
	default:
		s.skip()
	}
}

func (s *scanner) capabilities() *Capabilities {
	if s.word("null") {
		return nil
	}
	c := new(Capabilities)
	s.object(func(key string) {
		switch key {
		case "all":
			c.All = s.boolean()
		case "bounding":
			c.Bounding = s.strs()
		case "effective":
			c.Effective = s.strs()
		case "permitted":
			c.Permitted = s.strs()
		case "inheritable":
			c.Inheritable = s.strs()
		case "ambient":
			c.Ambient = s.strs()
		default:
			s.skip()
		}
	})
	return c
}

// Encode writes a failure as JSON, without reflection, for the same reason as
// Decode.
func (f *Failure) Encode() []byte {
	b := appendString([]byte(`{"step":`), f.Step)
	b = appendString(append(b, `,"reason":`...), f.Reason)
	if f.Kind != "" {
		b = appendString(append(b, `,"kind":`...), f.Kind)
	}
	if f.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(f.Code), 10)
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // invalid bytes become U+FFFD
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
