package program

// Hooks are programs of others that help to make the container, as the OCI runtime
// specification knows them.
type Hooks struct {
	// State is the OCI state that each hook reads on its standard input, up to where
	// "status" and "pid" follow: an open JSON object.
	State string `json:"state"`
	// Bundle is a directory of the host with a directory "rootfs", where hooks find
	// the container's root.
	Bundle string `json:"bundle"`
	// Ask makes the launch stage ask, on the descriptor after the last, for the hooks
	// that run where the engine is (prestart, createRuntime): it writes one byte when
	// the mounts are made, with its credentials, and goes on when one comes back.
	Ask bool `json:"ask,omitempty"`
	// CreateContainer are programs of the host, run among the container's mounts.
	CreateContainer []Hook `json:"create_container,omitempty"`
	// StartContainer are programs of the container, run as its process would be.
	StartContainer []Hook `json:"start_container,omitempty"`
}

// Hook is one program.
type Hook struct {
	Path    string   `json:"path"`
	Args    []string `json:"args,omitempty"` // with the name that it is called by
	Env     []string `json:"env,omitempty"`
	Timeout int64    `json:"timeout,omitempty"` // seconds; 0 is none
}

func (s *Reader) hooks() *Hooks {
	if s.Null() {
		return nil
	}
	h := new(Hooks)
	s.Object(func(key string) {
		switch key {
		case "state":
			h.State = s.Text()
		case "bundle":
			h.Bundle = s.Text()
		case "ask":
			h.Ask = s.Bool()
		case "create_container":
			h.CreateContainer = s.hookList()
		case "start_container":
			h.StartContainer = s.hookList()
		default:
			s.Skip()
		}
	})
	return h
}

func (s *Reader) hookList() []Hook {
	return list(s, func(h *Hook) {
		s.Object(func(key string) {
			switch key {
			case "path":
				h.Path = s.Text()
			case "args":
				h.Args = s.Texts()
			case "env":
				h.Env = s.Texts()
			case "timeout":
				h.Timeout = s.Int()
			default:
				s.Skip()
			}
		})
	})
}
