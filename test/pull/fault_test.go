package pull_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// noise is a file that no compression makes smaller.
func noise(seed byte, size int) string {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(text) // never fails
	return string(text)
}

// noisy is an image with a shell and layers of noise, 4 MiB each.
func noisy(t *testing.T) v1.Image {
	t.Helper()
	layers := []v1.Layer{busyboxLayer(t)}
	for n := range byte(4) {
		name := "noise-" + string('a'+rune(n))
		layers = append(layers, registrytest.Layer(t, registrytest.Gzip, registrytest.File(name, noise(n, 4<<20)), registrytest.File(name+"-small", name)))
	}
	return registrytest.Image(t, v1.Config{Cmd: []string{"sh", "-c", "cat /noise-?-small; cat /noise-? | wc -c"}}, layers...)
}

const noisySays = "noise-anoise-bnoise-cnoise-d16777216"

// works pulls the noisy image and runs it.
func (a *agent) works(ref string) {
	a.t.Helper()
	id := a.mustPull(ref)
	a.checkStore()
	a.checkNoParts()
	p := a.pod("works")
	if got := strings.TrimSpace(p.said(p.launch(container("c", id)))); !strings.HasPrefix(got, noisySays) {
		a.t.Errorf("a pod of the image wrote %q, want %q", got, noisySays)
	}
}

func TestAgentKilledInAPullLeavesNothingHalfDone(t *testing.T) {
	server := registrytest.New(t)
	server.Push(t, "app:1", noisy(t))
	ref := server.Host + "/app:1"
	a := start(t, server.Certs(t))
	began := time.Now()
	a.mustPull(ref)
	whole := time.Since(began)
	a.removeImage(ref)
	for round := range 10 {
		// Any moment of a pull, and a little after it.
		moment := rand.N(whole + whole/10)
		done := make(chan error, 1)
		images, ctx := a.images, within(t)
		go func() {
			_, err := images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: ref}})
			done <- err
		}()
		timer := time.NewTimer(moment)
		<-timer.C
		a.end(syscall.SIGKILL)
		err := <-done
		a.run()
		a.checkStore()
		got := a.image(ref)
		t.Logf("round %d: killed after %s of about %s: %v; pulled: %t", round, moment, whole, err, got != nil)
		if err == nil && got == nil {
			t.Errorf("round %d, killed after %s: a pull that had succeeded is forgotten", round, moment)
		}
		if got == nil && len(a.layers()) != 0 {
			t.Errorf("round %d, killed after %s: layers of no image: %q", round, moment, a.layers())
		}
		if got != nil {
			p := a.pod("whole")
			if said := strings.TrimSpace(p.said(p.launch(container("c", ref)))); !strings.HasPrefix(said, noisySays) {
				t.Errorf("round %d, killed after %s: what is there says %q, want %q", round, moment, said, noisySays)
			}
			a.removeAll()
			a.removeImage(ref)
		}
		if t.Failed() {
			return
		}
	}
	a.works(ref)
}

func TestPullEndsWithItsCaller(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(context.Context) (context.Context, context.CancelFunc)
		code codes.Code
	}{
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, codes.DeadlineExceeded},
		"cancelled": {context.WithCancel, codes.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.New(t)
			img := noisy(t)
			server.Push(t, "app:1", img)
			layers, err := img.Layers()
			must(t, err)
			a := start(t, server.Certs(t))
			hanging, release := server.HangBlob(t, digestOf(t, layers[2]), 1<<20, -1)
			ctx, cancel := c.stop(within(t))
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := a.images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: server.Host + "/app:1"}})
				failed <- err
			}()
			<-hanging
			if name == "cancelled" {
				cancel()
			}
			if err := <-failed; status.Code(err) != c.code {
				t.Errorf("PullImage() = %v, want %s", err, c.code)
			}
			eventually(t, "the agent to let go of what it had", func() bool {
				files, err := os.ReadDir(a.dir + "/state/images/ingest")
				return err == nil && len(files) == 0
			})
			if got := a.image(server.Host + "/app:1"); got != nil || len(a.layers()) != 0 {
				t.Errorf("of a pull that ended early there are %v and %q", got, a.layers())
			}
			a.checkStore()
			release()
			server.ClearHooks()
			a.works(server.Host + "/app:1")
		})
	}
}

func TestFullDiskIsSaidAndLeavesRoomForSmallerImages(t *testing.T) {
	server := registrytest.New(t)
	server.Push(t, "large:1", noisy(t))
	server.Push(t, "small:1", registrytest.Image(t, v1.Config{Cmd: []string{"echo", "small"}}, busyboxLayer(t)))
	a := prepare(t, server.Certs(t))
	must(t, os.Mkdir(a.dir+"/state", 0o755), syscall.Mount("tmpfs", a.dir+"/state", "tmpfs", 0, "size=10m"))
	a.serve()
	_, err := a.pullAs(server.Host+"/large:1", nil)
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "large:1") {
		t.Errorf("PullImage() = %v, want that there is no space left for large:1", err)
	}
	if got := a.image(server.Host + "/large:1"); got != nil || len(a.layers()) != 0 {
		t.Errorf("of an image that the disk can't hold there are %v and %q", got, a.layers())
	}
	a.checkStore()
	a.checkNoParts()
	id := a.mustPull(server.Host + "/small:1")
	p := a.pod("p")
	if got := p.said(p.launch(container("c", id))); got != "small\n" {
		t.Errorf("the small image's container wrote %q", got)
	}
	a.checkStore()
}
