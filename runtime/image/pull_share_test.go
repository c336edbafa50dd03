package image

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
)

func TestPullsOfTheSameThingShareTheWork(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	reg.Push(t, "web:1", img)
	other := twoLayers(t, "two")
	reg.Push(t, "web:2", other)
	_, layers, _ := digests(t, img)
	hanging, release := reg.HangBlob(t, layers[0], 10, 1)
	s := openWith(t, reg, dir)
	var wg sync.WaitGroup
	var read atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			o := PullOptions{Read: func(n int64) { read.Add(n) }}
			if _, err := s.Pull(t.Context(), reg.Host+"/web:"+[]string{"1", "2"}[i%2], o); err != nil {
				t.Error(err)
			}
		})
	}
	<-hanging
	waitFor(t, func() bool { return len(reg.Requests("manifest")) >= 8 }) // each asks for itself
	release()
	wg.Wait()
	// The one that hung is taken up again; nobody else asks.
	if n := reg.BlobGets(layers[0]); n > 2 {
		t.Errorf("the common layer was asked for %d times, want at most 2", n)
	}
	want := int64(0)
	sizes := map[v1.Hash]int64{}
	for _, i := range []v1.Image{img, other} {
		m, err := i.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range m.Layers {
			want += l.Size - sizes[l.Digest]
			sizes[l.Digest] = l.Size
		}
	}
	if got := read.Load(); got != want {
		t.Errorf("%d bytes were read in all, want each layer's once: %d", got, want)
	}
}

func TestACallerThatLeavesLeavesTheWorkToTheOthers(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	reg.Push(t, "web", img)
	_, layers, _ := digests(t, img)
	hanging, release := reg.HangBlob(t, layers[0], 10, 1)
	s := openWith(t, reg, dir)
	impatient, leave := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Pull(impatient, reg.Host+"/web", PullOptions{})
		first <- err
	}()
	<-hanging
	reached := make(chan struct{}, 1000)
	go func() {
		_, err := s.Pull(t.Context(), reg.Host+"/web", PullOptions{Progress: func(int64, int64) { reached <- struct{}{} }})
		second <- err
	}()
	<-reached
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first Pull = %v, want context.Canceled", err)
	}
	release()
	if err := <-second; err != nil {
		t.Errorf("the second Pull = %v", err)
	}
}

func TestAPullThatNobodyWantsEnds(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	reg.Push(t, "web", img)
	_, layers, _ := digests(t, img)
	hanging, _ := reg.HangBlob(t, layers[1], 10, -1)
	s := openWith(t, reg, dir)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := s.Pull(ctx, reg.Host+"/web", PullOptions{})
		result <- err
	}()
	<-hanging
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Pull = %v, want context.Canceled", err)
	}
	for _, name := range contents(t, dir) {
		if !strings.HasPrefix(name, partsDir+"/") {
			t.Errorf("%s was left", name)
		}
	}
	if s.work.bench != nil || len(s.work.layers.under) > 0 {
		t.Error("work is still under way")
	}
	if images, err := s.List(); err != nil || len(images) != 0 {
		t.Errorf("List = %v, %v, want nothing", images, err)
	}
	// What came whole waits for the next try.
	reg.ClearHooks()
	reg.Reset()
	must(t)(s.Pull(t.Context(), reg.Host+"/web", PullOptions{}))
	for _, name := range contents(t, dir) {
		if !strings.HasPrefix(name, layersDir+"/") {
			t.Errorf("%s was left", name)
		}
	}
}
