package supervisor

import (
	"time"

	"github.com/siflet/siflet/runtime/program"
)

func decodeConfig(b []byte) (Config, error) {
	r, c := program.NewReader(b), Config{}
	r.Object(func(key string) {
		switch key {
		case "version":
			c.Version = int(r.Int())
		case "id":
			c.ID = r.Text()
		case "dir":
			c.Dir = r.Text()
		case "title":
			c.Title = r.Text()
		case "hostname":
			c.Hostname = r.Text()
		case "domainname":
			c.Domainname = r.Text()
		case "shared_pid":
			c.SharedPID = r.Bool()
		case "shared_memory":
			c.SharedMemory = r.Int()
		case "loopback":
			c.Loopback = r.Bool()
		case "sysctls":
			c.Sysctls = map[string]string{}
			r.Object(func(k string) { c.Sysctls[k] = r.Text() })
		case "cgroup":
			c.Cgroup.Read(r)
		case "oom_score_adj":
			if !r.Null() {
				n := int(r.Int())
				c.OOMScoreAdj = &n
			}
		case "end_with_init":
			c.EndWithInit = r.Bool()
		case "uid_map":
			c.UIDMap = r.Text()
		case "gid_map":
			c.GIDMap = r.Text()
		case "owned":
			c.Owned = r.Uint(64)
		case "fuse":
			r.Object(func(k string) { c.FUSE.field(r, k) })
		case "linked":
			c.Linked = r.Bool()
		default:
			r.Skip()
		}
	})
	return c, r.End()
}

// decodeRequest decodes a request. Program aliases b; nothing else does.
func decodeRequest(b []byte) (Request, error) {
	r, q := program.NewReader(b), Request{}
	r.Object(func(key string) {
		switch key {
		case "op":
			q.Op = r.Text()
		case "container":
			q.Container = r.Text()
		case "start":
			if !r.Null() {
				q.Start = readStart(r)
			}
		case "exec":
			if !r.Null() {
				q.Exec = readExec(r)
			}
		case "attach":
			if !r.Null() {
				q.Attach = readAttach(r)
			}
		case "signal":
			q.Signal = int(r.Int())
		case "all":
			q.All = r.Bool()
		case "grace":
			q.Grace = time.Duration(r.Int())
		case "rows":
			q.Rows = uint16(r.Uint(16))
		case "cols":
			q.Cols = uint16(r.Uint(16))
		default:
			r.Skip()
		}
	})
	return q, r.End()
}

func readStart(r *program.Reader) *StartRequest {
	s := &StartRequest{}
	r.Object(func(key string) {
		switch key {
		case "program":
			s.Program = r.Raw()
		case "pid":
			s.PID = program.PIDMode(r.Text())
		case "target":
			s.Target = r.Text()
		case "cgroup":
			s.Cgroup.Read(r)
		case "oom_score_adj":
			if !r.Null() {
				n := int(r.Int())
				s.OOMScoreAdj = &n
			}
		case "exit_file":
			s.ExitFile = r.Text()
		case "log":
			s.Log = readLog(r)
		case "stdin":
			s.Stdin = r.Bool()
		case "stdin_once":
			s.StdinOnce = r.Bool()
		case "terminal":
			s.Terminal = r.Bool()
		case "hooks":
			s.Hooks = r.Bool()
		case "restored":
			s.Restored = r.Text()
		case "service":
			if !r.Null() {
				s.Service = readService(r)
			}
		default:
			r.Skip()
		}
	})
	return s
}

func readLog(r *program.Reader) (l LogConfig) {
	r.Object(func(key string) {
		switch key {
		case "cri":
			l.CRI = r.Text()
		case "out":
			l.Out = r.Text()
		case "err":
			l.Err = r.Text()
		case "max_size":
			l.MaxSize = r.Int()
		case "max_files":
			l.MaxFiles = int(r.Int())
		default:
			r.Skip()
		}
	})
	return l
}

func readService(r *program.Reader) *ServiceSpec {
	s := &ServiceSpec{}
	r.Object(func(key string) {
		switch key {
		case "restart":
			s.Restart = r.Text()
		case "retries":
			s.Retries = int(r.Int())
		case "health":
			if !r.Null() {
				s.Health = readHealth(r)
			}
		default:
			r.Skip()
		}
	})
	return s
}

func readHealth(r *program.Reader) *HealthSpec {
	h := &HealthSpec{}
	r.Object(func(key string) {
		switch key {
		case "exec":
			if !r.Null() {
				h.Exec = readExec(r)
			}
		case "interval":
			h.Interval = time.Duration(r.Int())
		case "start_period":
			h.StartPeriod = time.Duration(r.Int())
		case "retries":
			h.Retries = int(r.Int())
		default:
			r.Skip()
		}
	})
	return h
}

func readExec(r *program.Reader) *ExecRequest {
	e := &ExecRequest{}
	r.Object(func(key string) {
		switch key {
		case "program":
			e.Program = r.Raw()
		case "cgroup":
			e.Cgroup.Read(r)
		case "terminal":
			e.Terminal = r.Bool()
		case "timeout":
			e.Timeout = time.Duration(r.Int())
		case "keep":
			e.Keep = r.Bool()
		case "action":
			e.Action = r.Text()
		case "enter":
			e.Enter = r.Bool()
		case "oom_score_adj":
			if !r.Null() {
				n := int(r.Int())
				e.OOMScoreAdj = &n
			}
		case "stdin":
			e.Stdin = r.Bool()
		case "stdout":
			e.Stdout = r.Bool()
		case "stderr":
			e.Stderr = r.Bool()
		default:
			r.Skip()
		}
	})
	return e
}

func readAttach(r *program.Reader) *AttachRequest {
	a := &AttachRequest{}
	r.Object(func(key string) {
		switch key {
		case "stdin":
			a.Stdin = r.Bool()
		case "stdout":
			a.Stdout = r.Bool()
		case "stderr":
			a.Stderr = r.Bool()
		default:
			r.Skip()
		}
	})
	return a
}
