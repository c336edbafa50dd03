package supervisor

import (
	"time"

	"github.com/siflet/siflet/runtime/program"
)

func decodeConfig(b []byte) (Config, error) {
	r, c := reader{b: b}, Config{}
	r.object(func(key string) {
		switch key {
		case "version":
			c.Version = int(r.int(32))
		case "id":
			c.ID = r.string()
		case "dir":
			c.Dir = r.string()
		case "title":
			c.Title = r.string()
		case "hostname":
			c.Hostname = r.string()
		case "domainname":
			c.Domainname = r.string()
		case "shared_pid":
			c.SharedPID = r.bool()
		case "shared_memory":
			c.SharedMemory = r.int(64)
		case "loopback":
			c.Loopback = r.bool()
		case "sysctls":
			c.Sysctls = map[string]string{}
			r.object(func(k string) { c.Sysctls[k] = r.string() })
		case "cgroup":
			c.Cgroup = r.cgroup()
		case "oom_score_adj":
			if !r.null() {
				n := int(r.int(32))
				c.OOMScoreAdj = &n
			}
		case "end_with_init":
			c.EndWithInit = r.bool()
		default:
			r.skip(0)
		}
	})
	return c, r.end()
}

func (r *reader) cgroup() (c program.Cgroup) {
	r.object(func(key string) {
		switch key {
		case "join":
			r.array(func() { c.Join = append(c.Join, r.string()) })
		case "dir":
			c.Dir = r.string()
		case "procs":
			c.Procs = r.string()
		case "kill":
			c.Kill = r.string()
		case "oom":
			c.OOM = r.string()
		default:
			r.skip(0)
		}
	})
	return c
}

// decodeRequest decodes a request. Program aliases b; nothing else does.
func decodeRequest(b []byte) (Request, error) {
	r, q := reader{b: b}, Request{}
	r.object(func(key string) {
		switch key {
		case "op":
			q.Op = r.string()
		case "container":
			q.Container = r.string()
		case "start":
			if !r.null() {
				q.Start = r.start()
			}
		case "exec":
			if !r.null() {
				q.Exec = r.exec()
			}
		case "attach":
			if !r.null() {
				q.Attach = r.attach()
			}
		case "signal":
			q.Signal = int(r.int(32))
		case "all":
			q.All = r.bool()
		case "rows":
			q.Rows = r.uint16()
		case "cols":
			q.Cols = r.uint16()
		default:
			r.skip(0)
		}
	})
	return q, r.end()
}

func (r *reader) start() *StartRequest {
	s := &StartRequest{}
	r.object(func(key string) {
		switch key {
		case "program":
			s.Program = r.raw()
		case "pid":
			s.PID = program.PIDMode(r.string())
		case "target":
			s.Target = r.string()
		case "cgroup":
			s.Cgroup = r.cgroup()
		case "exit_file":
			s.ExitFile = r.string()
		case "log":
			s.Log = r.log()
		case "stdin":
			s.Stdin = r.bool()
		case "stdin_once":
			s.StdinOnce = r.bool()
		case "terminal":
			s.Terminal = r.bool()
		default:
			r.skip(0)
		}
	})
	return s
}

func (r *reader) log() (l LogConfig) {
	r.object(func(key string) {
		switch key {
		case "cri":
			l.CRI = r.string()
		case "out":
			l.Out = r.string()
		case "err":
			l.Err = r.string()
		default:
			r.skip(0)
		}
	})
	return l
}

func (r *reader) exec() *ExecRequest {
	e := &ExecRequest{}
	r.object(func(key string) {
		switch key {
		case "program":
			e.Program = r.raw()
		case "cgroup":
			e.Cgroup = r.cgroup()
		case "terminal":
			e.Terminal = r.bool()
		case "timeout":
			e.Timeout = time.Duration(r.int(64))
		case "stdin":
			e.Stdin = r.bool()
		case "stdout":
			e.Stdout = r.bool()
		case "stderr":
			e.Stderr = r.bool()
		default:
			r.skip(0)
		}
	})
	return e
}

func (r *reader) attach() *AttachRequest {
	a := &AttachRequest{}
	r.object(func(key string) {
		switch key {
		case "stdin":
			a.Stdin = r.bool()
		case "stdout":
			a.Stdout = r.bool()
		case "stderr":
			a.Stderr = r.bool()
		default:
			r.skip(0)
		}
	})
	return a
}

func decodeFailure(b []byte) (*program.Failure, error) {
	r, f := reader{b: b}, &program.Failure{}
	r.object(func(key string) {
		switch key {
		case "step":
			f.Step = r.string()
		case "reason":
			f.Reason = r.string()
		case "kind":
			f.Kind = r.string()
		case "code":
			f.Code = int(r.int(32))
		default:
			r.skip(0)
		}
	})
	return f, r.end()
}
