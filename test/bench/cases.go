package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// samples is how often a single operation is repeated.
const samples = 40

// benchCase is run by default unless it is apart, which those are that take long.
type benchCase struct {
	name  string
	run   func(context.Context, *bench) ([]result, error)
	apart bool
}

func cases() []benchCase {
	return []benchCase{
		{name: "start", run: podStarts},
		{name: "exec", run: execSync},
		{name: "stop", run: stops},
		{name: "cpu", run: cpuPerPod},
		{name: "burst", run: burst},
		{name: "cli", run: cliExec},
		{name: "fuse", run: fuseReads},
		{name: "build", run: builds},
		{name: "crowd", run: crowd(100).measure},
		{name: "cache", run: pageCache},
		{name: "pull", run: pulls},
		{name: "density", run: crowd(250).measure, apart: true},
	}
}

func sleeper() []string { return []string{"/bin/sleep", "100000"} }

// obedient exits at once on SIGTERM, as PID 1 too.
func obedient() []string {
	return []string{"/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"}
}

func podStarts(ctx context.Context, b *bench) (out []result, err error) {
	for _, c := range []struct {
		name      string
		network   criapi.NamespaceMode
		bar, goal float64
	}{
		{"pod up, host net", criapi.NamespaceMode_NODE, 10, 5},
		{"pod up, bridge", criapi.NamespaceMode_POD, 20, 10},
	} {
		var taken, run, create, start []time.Duration
		for range samples {
			p := b.newPod(c.network, b.image, sleeper()...)
			began := time.Now()
			if err := b.up(ctx, p); err != nil {
				return nil, err
			}
			took := time.Since(began)
			taken, run, create, start = append(taken, took), append(run, p.ran), append(create, p.created-p.ran), append(start, took-p.created)
			if err := b.down(ctx, p.id); err != nil {
				return nil, err
			}
		}
		steps := fmt.Sprintf("run %.1f, create %.1f, start %.1f", median(run), median(create), median(start))
		out = append(out, result{Name: c.name, Value: median(taken), Unit: "ms", Bar: c.bar, Goal: c.goal, Note: steps})
	}
	return out, nil
}

func execSync(ctx context.Context, b *bench) ([]result, error) {
	p := b.newPod(criapi.NamespaceMode_NODE, b.image, sleeper()...)
	if err := b.up(ctx, p); err != nil {
		return nil, err
	}
	var taken []time.Duration
	for range samples {
		began := time.Now()
		reply, err := b.runtime.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: p.main, Cmd: []string{"true"}, Timeout: 10})
		if err != nil {
			return nil, err
		}
		if reply.ExitCode != 0 {
			return nil, fmt.Errorf("true exited with %d: %s", reply.ExitCode, reply.Stderr)
		}
		taken = append(taken, time.Since(began))
	}
	return []result{{Name: "ExecSync true", Value: median(taken), Unit: "ms", Bar: 5, Goal: 3}}, b.down(ctx, p.id)
}

func stops(ctx context.Context, b *bench) ([]result, error) {
	var taken []time.Duration
	for range samples {
		p := b.newPod(criapi.NamespaceMode_POD, b.image, obedient()...)
		if err := b.up(ctx, p); err != nil {
			return nil, err
		}
		// The shell must have set its trap.
		if err := pause(ctx, 30*time.Millisecond); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := b.end(ctx, p); err != nil {
			return nil, err
		}
		taken = append(taken, time.Since(began))
	}
	return []result{{Name: "stop and remove, bridge", Value: median(taken), Unit: "ms", Bar: 15}}, nil
}

// cpuPerPod is what the whole machine spends on a pod's life, less what it
// spends anyway.
func cpuPerPod(ctx context.Context, b *bench) ([]result, error) {
	before, err := busy()
	if err != nil {
		return nil, err
	}
	idleFrom := time.Now()
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	after, err := busy()
	if err != nil {
		return nil, err
	}
	background := float64(after-before) / float64(time.Since(idleFrom))
	const pods = 60
	began := time.Now()
	for range pods {
		p := b.newPod(criapi.NamespaceMode_POD, b.image, sleeper()...)
		if err := b.up(ctx, p); err != nil {
			return nil, err
		}
		if err := b.down(ctx, p.id); err != nil {
			return nil, err
		}
	}
	// The kernel takes network namespaces and cgroups away afterwards; that counts.
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	took := time.Since(began)
	end, err := busy()
	if err != nil {
		return nil, err
	}
	spent := float64(end-after) - background*float64(took)
	return []result{{Name: "CPU per pod, bridge", Value: spent / pods / float64(time.Millisecond), Unit: "ms", Bar: 25, Goal: 12}}, nil
}

func burst(ctx context.Context, b *bench) ([]result, error) {
	const width, rounds = 16, 5
	var rates []float64
	for range rounds {
		pods := make([]*pod, width)
		for i := range pods {
			pods[i] = b.newPod(criapi.NamespaceMode_POD, b.image, sleeper()...)
		}
		began := time.Now()
		if err := each(pods, func(p *pod) error { return b.up(ctx, p) }); err != nil {
			return nil, err
		}
		rates = append(rates, width/time.Since(began).Seconds())
		if err := each(pods, func(p *pod) error { return b.down(ctx, p.id) }); err != nil {
			return nil, err
		}
	}
	return []result{{Name: "16 pods at once, bridge", Value: middle(rates), Unit: "pods/s", Bar: 60, Higher: true}}, nil
}

// each calls f for every pod at the same time.
func each(pods []*pod, f func(*pod) error) error {
	errs := make([]error, len(pods))
	var wait sync.WaitGroup
	for i, p := range pods {
		wait.Go(func() { errs[i] = f(p) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pageCache reads a large image in many pods and watches how much memory its
// pages take.
func pageCache(ctx context.Context, b *bench) ([]result, error) {
	const size, readers = 500 << 20, 100
	image := filepath.Join(b.dir, "large.sif")
	if err := largeImage(ctx, b.dir, image, size); err != nil {
		return nil, err
	}
	if err := b.pull(ctx, image); err != nil {
		return nil, err
	}
	pods := make([]*pod, readers)
	for i := range pods {
		pods[i] = b.newPod(criapi.NamespaceMode_NODE, image, "/bin/sh", "-c", "cat /large >/dev/null; echo read >/read; exec sleep 100000")
	}
	// What making the image left in memory is not what its pods hold.
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		return nil, err
	}
	before, err := field("/proc/meminfo", "Cached:")
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if err := b.up(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, p := range pods {
		if err := b.await(ctx, p, "test", "-e", "/read"); err != nil {
			return nil, err
		}
	}
	after, err := field("/proc/meminfo", "Cached:")
	if err != nil {
		return nil, err
	}
	if err := each(pods, func(p *pod) error { return b.down(ctx, p.id) }); err != nil {
		return nil, err
	}
	return []result{
		{Name: "page cache, 100 pods of 500 MB", Value: (after - before) / size, Unit: "times", Bar: 1.2},
	}, os.Remove(image)
}

// await runs a command in the pod until it succeeds.
func (b *bench) await(ctx context.Context, p *pod, command ...string) error {
	for {
		reply, err := b.runtime.ExecSync(ctx, &criapi.ExecSyncRequest{ContainerId: p.main, Cmd: command, Timeout: 10})
		if err != nil || reply.ExitCode == 0 {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
