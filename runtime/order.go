package runtime

import "time"

// Who drives the engine tells which of several attempts at the same thing is the last by
// when they were created. A clock that was set back must not make that an earlier one.

// following is now, or a little after the times that it is to follow.
func following(now time.Time, before []time.Time) time.Time {
	for _, t := range before {
		if !now.After(t) {
			now = t.Add(time.Microsecond)
		}
	}
	return now
}

// attempts are when the instances were created that others for the same thing followed.
func (e *Engine) attempts(m Metadata) []time.Time {
	var out []time.Time
	if m.Name == "" {
		return out // a person's
	}
	for _, i := range e.all() {
		i.mu.Lock()
		other := &i.rec.Spec.Metadata
		if other.Name == m.Name && other.Namespace == m.Namespace && other.UID == m.UID {
			out = append(out, i.rec.CreatedAt)
		}
		i.mu.Unlock()
	}
	return out
}

// attemptsLocked is that for containers of an instance.
func (i *instance) attemptsLocked(m Metadata) []time.Time {
	var out []time.Time
	for _, c := range i.containers {
		if c.rec.Spec.Metadata.Name == m.Name {
			out = append(out, c.rec.CreatedAt)
		}
	}
	return out
}
