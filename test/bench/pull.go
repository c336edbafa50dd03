package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pulls measures an image on its way from a registry to a process, with all data
// in memory and an agent of its own.
func pulls(ctx context.Context, outer *bench) (out []result, err error) {
	const dir = "/run/siflet-bench-pull"
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	host, served, stop, err := serveRegistry(ctx, filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	big := host + "/bench/big:1"
	layers, err := pushBig(ctx, dir, big)
	if err != nil {
		return nil, err
	}
	b, err := serve(ctx, outer.bin, filepath.Join(dir, "agent"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if out, err = b.pullBig(ctx, big); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "pull: %d MiB from the registry\n", served.Load()>>20)
	again, err := b.pullAgain(ctx, big)
	if err != nil {
		return nil, err
	}
	served.Store(0)
	shared, err := b.pullShared(ctx, host+"/bench/other:1", layers)
	if err != nil {
		return nil, err
	}
	shared.Note = fmt.Sprintf("%d KiB from the registry", served.Load()>>10)
	byPath, err := outer.pullPath(ctx)
	return append(out, again, shared, byPath), err
}

// pullBig pulls the image and runs it.
func (b *bench) pullBig(ctx context.Context, ref string) ([]result, error) {
	pids := []int{b.agent.Process.Pid}
	before, err := cpuTime(pids)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.pull(ctx, ref); err != nil {
		return nil, err
	}
	pulled := time.Since(began)
	p := b.newPod(criapi.NamespaceMode_NODE, ref)
	if err := b.up(ctx, p); err != nil {
		return nil, err
	}
	took := time.Since(began)
	after, err := cpuTime(pids)
	if err != nil {
		return nil, err
	}
	peak, err := field(fmt.Sprintf("/proc/%d/status", pids[0]), "VmHWM:")
	if err != nil {
		return nil, err
	}
	disk, err := diskUsage(filepath.Join(b.state(), "images"))
	if err != nil {
		return nil, err
	}
	const mib = 1 << 20
	return []result{
		{Name: "pull 1 GiB to process running", Value: took.Seconds(), Unit: "s", Bar: 9, Goal: 6, Note: fmt.Sprintf("pull %.1f s", pulled.Seconds())},
		{Name: "pull 1 GiB, CPU", Value: (after - before).Seconds(), Unit: "s", Bar: 14},
		{Name: "pull 1 GiB, disk", Value: disk / mib, Unit: "MiB", Bar: 900, Goal: 600},
		{Name: "pull 1 GiB, peak memory", Value: peak / mib, Unit: "MiB", Bar: 200},
	}, b.down(ctx, p.id)
}

// pullAgain pulls what is there.
func (b *bench) pullAgain(ctx context.Context, ref string) (result, error) {
	var taken []time.Duration
	for range samples {
		began := time.Now()
		if err := b.pull(ctx, ref); err != nil {
			return result{}, err
		}
		taken = append(taken, time.Since(began))
	}
	return result{Name: "pull 1 GiB that is there", Value: median(taken), Unit: "ms", Bar: 10}, nil
}

// pullShared pulls an image that has one small layer more.
func (b *bench) pullShared(ctx context.Context, ref string, layers []v1.Layer) (result, error) {
	small, err := smallLayer("welcome\n")
	if err != nil {
		return result{}, err
	}
	if err := push(ctx, ref, append(slices.Clip(layers), small)); err != nil {
		return result{}, err
	}
	began := time.Now()
	if err := b.pull(ctx, ref); err != nil {
		return result{}, err
	}
	return result{Name: "pull with one new small layer", Value: ms(time.Since(began)), Unit: "ms"}, nil
}

// pullPath makes a large SIF known that was never seen before.
func (b *bench) pullPath(ctx context.Context) (result, error) {
	const size = 500 << 20
	path := filepath.Join(b.dir, "first.sif")
	if err := largeImage(ctx, b.dir, path, size); err != nil {
		return result{}, err
	}
	var taken []time.Duration
	for i := range samples {
		next := filepath.Join(b.dir, fmt.Sprintf("path-%d.sif", i))
		if err := os.Rename(path, next); err != nil {
			return result{}, err
		}
		path = next
		began := time.Now()
		if err := b.pull(ctx, path); err != nil {
			return result{}, err
		}
		taken = append(taken, time.Since(began))
	}
	return result{Name: "pull a 500 MB SIF by path", Value: median(taken), Unit: "ms", Bar: 10}, os.Remove(path)
}

// diskUsage is what the files below dir take, in bytes.
func diskUsage(dir string) (total float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			total += float64(stat.Blocks) * 512
		}
		return nil
	})
	return total, err
}
