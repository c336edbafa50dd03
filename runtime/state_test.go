package runtime

import (
	"testing"
	"time"
)

func TestContainerStateOfEveryCombinationOfFacts(t *testing.T) {
	for _, c := range []struct {
		facts facts
		want  ContainerState
	}{
		{facts{}, ContainerCreated},
		{facts{alive: true}, ContainerCreated},
		{facts{started: true}, ContainerUnknown},
		{facts{started: true, alive: true}, ContainerRunning},
		{facts{finished: true}, ContainerExited},
		{facts{finished: true, alive: true}, ContainerExited},
		{facts{started: true, finished: true}, ContainerExited},
		{facts{started: true, finished: true, alive: true}, ContainerExited},
	} {
		if got := containerState(c.facts); got != c.want {
			t.Errorf("containerState(%+v) = %v, want %v", c.facts, got, c.want)
		}
	}
}

func TestLegalOperations(t *testing.T) {
	states := []ContainerState{ContainerCreated, ContainerRunning, ContainerExited, ContainerUnknown}
	for op, want := range map[operation][]bool{
		opStart:  {true, false, false, false},
		opExec:   {false, true, false, false},
		opUpdate: {true, true, true, true},
		opStop:   {true, true, true, true},
		opRemove: {true, true, true, true},
		"other":  {false, false, false, false},
	} {
		for n, s := range states {
			if got := legal(op, s); got != want[n] {
				t.Errorf("legal(%s, %s) = %v, want %v", op, s, got, want[n])
			}
		}
	}
}

func TestInstanceIsReadyOnlyBetweenReadyAndStoppedWithASupervisor(t *testing.T) {
	var never time.Time
	then := time.Unix(1, 0)
	for _, c := range []struct {
		ready, stopped time.Time
		alive          bool
		want           InstanceState
	}{
		{never, never, false, InstanceNotReady},
		{never, never, true, InstanceNotReady},
		{never, then, false, InstanceNotReady},
		{never, then, true, InstanceNotReady},
		{then, never, false, InstanceNotReady},
		{then, never, true, InstanceReady},
		{then, then, false, InstanceNotReady},
		{then, then, true, InstanceNotReady},
	} {
		if got := instanceState(c.ready, c.stopped, c.alive); got != c.want {
			t.Errorf("instanceState(%v, %v, %v) = %v, want %v", c.ready, c.stopped, c.alive, got, c.want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for name, want := range map[string]int{
		"SIGTERM": 15, "term": 15, "9": 9, "SIGKILL": 9, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SYS": 31, "USR1": 10,
	} {
		if got, err := ParseSignal(name); err != nil || got != want {
			t.Errorf("ParseSignal(%q) = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "65", "SIGWHAT", "SIGRTMIN+31", "-1", "RTMAX-31"} {
		if got, err := ParseSignal(bad); err == nil {
			t.Errorf("ParseSignal(%q) = %d, want an error", bad, got)
		}
	}
}
