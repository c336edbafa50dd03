package pull_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siflet/siflet/test/registrytest"
)

// killedPull is a pull to a directory that has nothing but its output.
type killedPull struct {
	*person

	args []string
	// want is what the output's bytes sum up to.
	want string
}

// kill ends the pull when the time has come. It says whether the output is there, and
// whether the pull was in the middle of its work.
func (p *killedPull) kill(come <-chan struct{}) (whole, middle bool) {
	p.t.Helper()
	cmd, _ := p.command(p.args...)
	must(p.t, cmd.Start())
	<-come
	must(p.t, ignoreDone(cmd.Process.Kill()))
	success := cmd.Wait() == nil
	for _, name := range p.names() {
		switch {
		case name == "app.sif":
			whole = true
			if got, err := sumOf(p.dir + "/out/app.sif"); err != nil || got != p.want {
				p.t.Errorf("the output of a pull that was killed sums up to %s, %v, want %s", got, err, p.want)
			}
		case strings.HasPrefix(name, ".siflet-pull-"):
			middle = true
		default:
			p.t.Errorf("a pull that was killed left %s", name)
		}
	}
	if success && !whole {
		p.t.Error("a pull that succeeded wrote nothing")
	}
	return whole, middle
}

func (p *killedPull) names() (names []string) {
	p.t.Helper()
	entries, err := os.ReadDir(p.dir + "/out")
	must(p.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// again pulls once more, after which there is the output and nothing else, and clears.
func (p *killedPull) again() {
	p.t.Helper()
	p.siflet(append(slices.Clone(p.args), "--force")...)
	if got := p.names(); !slices.Equal(got, []string{"app.sif"}) {
		p.t.Errorf("after another pull there is %q, want the output alone", got)
	}
	path := p.dir + "/out/app.sif"
	if got, err := sumOf(path); err != nil || got != p.want {
		p.t.Errorf("the output of another pull sums up to %s, %v, want %s", got, err, p.want)
	}
	must(p.t, os.Remove(path))
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func TestPersonsPullKilledLeavesAWholeFileOrNone(t *testing.T) {
	for name, flags := range map[string][]string{"flat": nil, "layered": {"--oci"}} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.New(t)
			img := noisy(t)
			server.Push(t, "app:1", img)
			layers, err := img.Layers()
			must(t, err)
			p := &killedPull{person: newPerson(t, server.Certs(t))}
			must(t, os.Mkdir(p.dir+"/out", 0o755))
			p.args = append(append([]string{"pull"}, flags...), "out/app.sif", "docker://"+server.Host+"/app:1")
			began := time.Now()
			p.siflet(p.args...)
			took := time.Since(began)
			p.want, err = sumOf(p.dir + "/out/app.sif")
			must(t, err, os.Remove(p.dir+"/out/app.sif"))

			hanging, release := server.HangBlob(t, digestOf(t, layers[2]), 1<<20, -1)
			if whole, middle := p.kill(hanging); whole || !middle {
				t.Errorf("killed while it reads a layer: output %t, work left %t, want work alone", whole, middle)
			}
			release()
			server.ClearHooks()
			p.again()
			for round := range 6 {
				// Any moment of a pull, and a little after it.
				moment := rand.N(took + took/10)
				come := make(chan struct{})
				time.AfterFunc(moment, func() { close(come) })
				whole, middle := p.kill(come)
				t.Logf("round %d: killed after %s of about %s: output %t, work left %t", round, moment, took, whole, middle)
				p.again()
			}
		})
	}
}
