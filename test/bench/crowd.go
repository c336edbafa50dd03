package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

// crowd is how many pods are up for the measurements of many; bars of what they take
// together are those of a hundred, and grow with it.
type crowd int

// bar is what so many may take when a hundred may take that.
func (c crowd) bar(hundred float64) float64 { return hundred * float64(c) / 100 }

// measure measures a node with many pods up: memory, lists, idleness.
func (c crowd) measure(ctx context.Context, b *bench) ([]result, error) {
	pods := make([]*pod, c)
	began := time.Now()
	for i := range pods {
		pods[i] = b.newPod(criapi.NamespaceMode_POD, b.image, sleeper()...)
		if err := b.up(ctx, pods[i]); err != nil {
			return nil, err
		}
	}
	up := result{Name: fmt.Sprintf("up one by one, %d pods", c), Value: time.Since(began).Seconds(), Unit: "s"}
	memory, err := c.memory(b)
	if err != nil {
		return nil, err
	}
	lists, err := c.lists(ctx, b)
	if err != nil {
		return nil, err
	}
	idle, err := c.idleness(ctx, b)
	if err != nil {
		return nil, err
	}
	err = each(pods, func(p *pod) error { return b.down(ctx, p.id) })
	return slices.Concat([]result{up}, memory, lists, idle), err
}

// crew returns the supervisors, with the init processes that some have, and the agent.
func (b *bench) crew() (supervisors, agent []int, err error) {
	supervisors, err = processes("siflet instance: ", "sinit")
	return supervisors, []int{b.agent.Process.Pid}, err
}

func (c crowd) memory(b *bench) ([]result, error) {
	supervisors, agent, err := b.crew()
	if err != nil {
		return nil, err
	}
	per, err := pss(supervisors)
	if err != nil {
		return nil, err
	}
	all, err := pss(agent)
	if err != nil {
		return nil, err
	}
	return []result{
		{
			Name: "memory (PSS) per pod", Value: per / float64(c) / 1e6, Unit: "MB", Bar: 0.8, Goal: 0.3,
			Note: fmt.Sprintf("%d processes for %d pods", len(supervisors), c),
		},
		{Name: fmt.Sprintf("all in all, %d pods", c), Value: (per + all) / 1e6, Unit: "MB", Bar: c.bar(110), Goal: c.bar(50)},
		{Name: fmt.Sprintf("memory (PSS) of the agent, %d pods", c), Value: all / 1e6, Unit: "MB"},
	}, nil
}

func (c crowd) lists(ctx context.Context, b *bench) (out []result, err error) {
	for _, list := range []struct {
		name string
		bar  float64
		call func() (int, error)
	}{
		{"ListContainerStats", 10, func() (int, error) {
			r, err := b.runtime.ListContainerStats(ctx, &criapi.ListContainerStatsRequest{})
			return len(r.GetStats()), err
		}},
		{"ListPodSandboxStats", 10, func() (int, error) {
			r, err := b.runtime.ListPodSandboxStats(ctx, &criapi.ListPodSandboxStatsRequest{})
			return len(r.GetStats()), err
		}},
		{"ListContainers", 3, func() (int, error) {
			r, err := b.runtime.ListContainers(ctx, &criapi.ListContainersRequest{})
			return len(r.GetContainers()), err
		}},
		{"ListPodSandbox", 3, func() (int, error) {
			r, err := b.runtime.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
			return len(r.GetItems()), err
		}},
	} {
		var taken []time.Duration
		for range samples {
			began := time.Now()
			n, err := list.call()
			if err != nil {
				return nil, err
			}
			if n != int(c) {
				return nil, fmt.Errorf("%s lists %d of %d", list.name, n, c)
			}
			taken = append(taken, time.Since(began))
		}
		out = append(out, result{Name: fmt.Sprintf("%s, %d pods", list.name, c), Value: median(taken), Unit: "ms", Bar: c.bar(list.bar)})
	}
	return out, nil
}

// idleness is the CPU time of everything siflet runs while nobody asks anything.
func (c crowd) idleness(ctx context.Context, b *bench) ([]result, error) {
	supervisors, agent, err := b.crew()
	if err != nil {
		return nil, err
	}
	all := slices.Concat(supervisors, agent)
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	before, err := cpuTime(all)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := pause(ctx, 10*time.Second); err != nil {
		return nil, err
	}
	after, err := cpuTime(all)
	if err != nil {
		return nil, err
	}
	return []result{{
		Name: fmt.Sprintf("idle, %d pods", c), Value: ms(after-before) / time.Since(began).Seconds(), Unit: "ms CPU/s", Bar: c.bar(5),
	}}, nil
}

// largeImage makes a SIF of busybox and one file that does not compress.
func largeImage(ctx context.Context, dir, out string, size int64) error {
	root := filepath.Join(dir, "large")
	if err := siftest.WriteTree(root, siftest.Options{Busybox: true, Bare: true}); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(root, "large"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(file, rand.Reader, size); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := siftest.Pack(ctx, root, out, siftest.PackOptions{}); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
