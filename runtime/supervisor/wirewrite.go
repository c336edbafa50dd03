package supervisor

// encodeReply returns rep as a frame.
func encodeReply(rep *Reply) []byte {
	w := writer{b: make([]byte, headerSize, 256)}
	w.open('{')
	w.int("pid", rep.PID)
	if rep.Exit != nil {
		w.key("exit")
		w.exit(rep.Exit)
	}
	if rep.Status != nil {
		w.key("status")
		w.status(rep.Status)
	}
	if rep.Event != nil {
		w.key("event")
		w.open('{')
		w.key("container")
		w.quote(rep.Event.Container)
		w.int("pid", rep.Event.PID)
		if rep.Event.Exit != nil {
			w.key("exit")
			w.exit(rep.Event.Exit)
		}
		w.close('}')
	}
	if rep.Failure != nil {
		w.key("failure")
		w.open('{')
		w.key("step")
		w.quote(rep.Failure.Step)
		w.key("reason")
		w.quote(rep.Failure.Reason)
		w.string("kind", rep.Failure.Kind)
		w.int("code", rep.Failure.Code)
		w.close('}')
	}
	w.close('}')
	return sealFrame(w.b)
}

func (w *writer) exit(e *Exit) {
	w.open('{')
	w.number("version", e.Version)
	w.number("code", e.Code)
	w.int("signal", e.Signal)
	w.bool("oom", e.OOM)
	w.bool("timed_out", e.TimedOut)
	w.bool("asked", e.Asked)
	w.time("at", e.At)
	w.string("message", e.Message)
	w.close('}')
}

func (w *writer) status(s *Status) {
	w.open('{')
	w.number("version", s.Version)
	w.key("id")
	w.quote(s.ID)
	w.number("pid", s.PID)
	w.int("init_pid", s.InitPID)
	if len(s.Containers) > 0 {
		w.key("containers")
		w.open('[')
		for i := range s.Containers {
			c := &s.Containers[i]
			w.sep()
			w.open('{')
			w.key("id")
			w.quote(c.ID)
			w.number("pid", c.PID)
			w.time("started_at", c.StartedAt)
			if c.Exit != nil {
				w.key("exit")
				w.exit(c.Exit)
			}
			w.service(c)
			w.close('}')
		}
		w.close(']')
	}
	w.string("network_lost", s.NetworkLost)
	w.close('}')
}

func (w *writer) service(c *ContainerStatus) {
	w.int("restarts", c.Restarts)
	w.bool("idle", c.Idle)
	w.bool("left", c.Left)
	if !c.Again.IsZero() {
		w.time("again", c.Again)
	}
	if c.Last != nil {
		w.key("last")
		w.exit(c.Last)
	}
	w.string("health", c.Health)
	w.int("health_failures", c.HealthFailures)
}

func encodeHello(h *Hello) []byte {
	w := writer{}
	w.open('{')
	w.number("version", h.Version)
	w.number("pid", h.PID)
	w.int("init_pid", h.InitPID)
	w.string("error", h.Error)
	w.string("kind", h.Kind)
	w.close('}')
	return w.b
}

func encodeExit(e *Exit) []byte {
	w := writer{}
	w.exit(e)
	return append(w.b, '\n')
}
