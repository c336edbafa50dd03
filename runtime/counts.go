package runtime

// Counts is how many pods there are, and containers in them, by state.
type Counts struct {
	Pods       map[InstanceState]int
	Containers map[ContainerState]int
	// Supervisors are those that run.
	Supervisors int
}

// Counts counts what is known, at no more cost than a walk through memory.
func (v *view) Counts() Counts {
	out := Counts{
		Pods:       map[InstanceState]int{InstanceReady: 0, InstanceNotReady: 0},
		Containers: map[ContainerState]int{ContainerCreated: 0, ContainerRunning: 0, ContainerExited: 0, ContainerUnknown: 0},
	}
	for _, i := range v.all() {
		i.mu.Lock()
		if i.alive {
			out.Supervisors++
		}
		out.Pods[instanceState(i.rec.ReadyAt, i.rec.StoppedAt, i.alive)]++
		for _, c := range i.containers {
			out.Containers[c.stateLocked()]++
		}
		i.mu.Unlock()
	}
	return out
}
