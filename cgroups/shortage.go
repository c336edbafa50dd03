package cgroups

// Shortage is g's own memory limit, if it has one and its processes have run into
// it since it was made. What can't be read is no shortage.
func (g *Group) Shortage() (limit uint64, hit bool) {
	if g.invalid != nil {
		return 0, false
	}
	var r reader
	if g.m.version == 1 {
		if !r.in(g, "memory") {
			return 0, false
		}
		limit = boundV1(r.limit("memory.limit_in_bytes"))
		// What counts memory and swap together is asked first. Some kernels count
		// only those they kill.
		failed, _ := r.number("memory.failcnt")
		also, _ := r.number("memory.memsw.failcnt")
		hit = failed > 0 || also > 0 || counted(r.file(oomFile(1)), "oom_kill")
	} else {
		if !r.in(g, "") {
			return 0, false
		}
		limit = r.limit("memory.max")
		hit = counted(r.file("memory.events.local"), "max", "oom", "oom_kill")
	}
	return limit, hit && limit != Unlimited
}

// Room is how many processes and threads may still be born in g as far as g's own limit,
// which it returns too, goes. Without one, or where it can't be read, both are Unlimited.
func (g *Group) Room() (room, limit uint64) {
	controller := ""
	if g.m.version == 1 {
		controller = "pids"
	}
	var r reader
	if g.invalid != nil || !r.in(g, controller) {
		return Unlimited, Unlimited
	}
	limit = r.limit("pids.max")
	current, ok := r.number("pids.current")
	switch {
	case !ok || limit == Unlimited:
		return Unlimited, Unlimited
	case current >= limit:
		return 0, limit
	}
	return limit - current, limit
}

// counted tells whether any of the keys in lines "key number" has happened.
func counted(data []byte, keys ...string) bool {
	for len(data) > 0 {
		var key []byte
		var value uint64
		key, value, data = cutPair(data)
		for _, k := range keys {
			if value > 0 && string(key) == k {
				return true
			}
		}
	}
	return false
}
