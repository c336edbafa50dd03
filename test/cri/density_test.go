package cri_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cpuTicks is the CPU time that the agent has taken, in hundredths of a second.
func (a *agent) cpuTicks() (ticks int) {
	a.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/stat")
	if err != nil {
		a.t.Fatal(err)
	}
	// PID (NAME) STATE ..., and the times of user and kernel as words 14 and 15.
	words := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for _, word := range words[11:13] {
		n, err := strconv.Atoi(word)
		if err != nil {
			a.t.Fatal(err)
		}
		ticks += n
	}
	return ticks
}

// fill runs that many pods with a container each, several at a time.
func (a *agent) fill(pods int, image string) error {
	errs := make([]error, pods)
	var all sync.WaitGroup
	turns := make(chan struct{}, 8)
	for n := range pods {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			c := podConfig(a, fmt.Sprintf("p%d", n))
			c.LogDirectory = ""
			made, err := a.RunPodSandbox(within(a.t), &criapi.RunPodSandboxRequest{Config: c})
			if err != nil {
				errs[n] = err
				return
			}
			created, err := a.CreateContainer(within(a.t), &criapi.CreateContainerRequest{
				PodSandboxId: made.PodSandboxId, Config: containerConfig("c", image, "sleep", "1000"), SandboxConfig: c,
			})
			if err == nil {
				_, err = a.StartContainer(within(a.t), &criapi.StartContainerRequest{ContainerId: created.ContainerId})
			}
			errs[n] = err
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// wantFull is a node with that many pods, which all run and are all told of.
func (a *agent) wantFull(pods int) {
	a.t.Helper()
	list, err := a.ListPodSandbox(within(a.t), &criapi.ListPodSandboxRequest{Filter: &criapi.PodSandboxFilter{
		State: &criapi.PodSandboxStateValue{State: criapi.PodSandboxState_SANDBOX_READY},
	}})
	if err != nil || len(list.Items) != pods {
		a.t.Errorf("%d pods are ready, want %d: %v", len(list.GetItems()), pods, err)
	}
	containers, err := a.ListContainers(within(a.t), &criapi.ListContainersRequest{Filter: &criapi.ContainerFilter{
		State: &criapi.ContainerStateValue{State: criapi.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil || len(containers.Containers) != pods {
		a.t.Errorf("%d containers run, want %d: %v", len(containers.GetContainers()), pods, err)
	}
	stats, err := a.ListPodSandboxStats(within(a.t), &criapi.ListPodSandboxStatsRequest{})
	if err != nil || len(stats.Stats) != pods {
		a.t.Fatalf("statistics of %d pods, want %d: %v", len(stats.GetStats()), pods, err)
	}
	for _, s := range stats.Stats {
		if len(s.Linux.GetContainers()) != 1 || s.Linux.Memory.GetUsageBytes().GetValue() == 0 || s.Linux.Network.GetDefaultInterface().GetName() == "" {
			a.t.Errorf("statistics = %v, want memory, a network and a container", s)
		}
	}
}

// More than twice as many pods as kubelets run unless they are told to run more.
func TestANodeFullOfPodsIsAsGoodAsAnEmptyOne(t *testing.T) {
	const pods = 250
	if testing.Short() {
		t.Skip("-short: many pods are the same to every kernel")
	}
	a := start(t)
	if err := a.fill(pods, busybox(t)); err != nil {
		t.Fatal(err)
	}
	a.wantFull(pods)
	a.end(syscall.SIGKILL)
	a.run()
	a.wantFull(pods)
	// Nobody asks anything. What it did before may take a while to come to rest.
	const share = 10 // of the time, at most: it is none, in fact
	eventually(t, "the agent to be idle", func() bool {
		before, began := a.cpuTicks(), time.Now()
		pause(t, time.Second)
		return a.cpuTicks()-before < int(time.Since(began)/(10*time.Millisecond))/share
	})
	text, err := os.ReadFile("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	const most = 200 << 10 // kB; it takes a third of that
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	if rss, err := strconv.Atoi(strings.Fields(after)[0]); err != nil || rss > most {
		t.Errorf("the agent takes %d kB, %v; want less than %d", rss, err, most)
	}
}
