package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// childEnv makes the test program pull an image into a store: "DIR REF".
const childEnv = "SIFLET_TEST_PULL"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(pullInChild(text))
	}
	os.Exit(m.Run())
}

// pullInChild writes a line for each report of progress, and one in the end.
func pullInChild(text string) int {
	dir, ref, _ := strings.Cut(text, " ")
	s, err := Open(dir, Options{Registry: registry.New(registry.Options{})})
	if err == nil {
		_, err = s.Pull(context.Background(), ref, PullOptions{Progress: func(done, _ int64) { _, _ = fmt.Fprintln(os.Stdout, done) }})
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, "pulled")
	return 0
}

// child starts a process that pulls.
func child(tb testing.TB, dir, ref string) (cmd *exec.Cmd, out io.Reader) {
	tb.Helper()
	cmd = exec.CommandContext(tb.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir+" "+ref)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return cmd, out
}

// killAfter kills the process when it has written that many lines and then some
// time has passed, and says whether it had ended by itself.
func killAfter(tb testing.TB, cmd *exec.Cmd, out io.Reader, lines int, pause time.Duration) (ended bool) {
	tb.Helper()
	scanner := bufio.NewScanner(out)
	for n := 0; n < lines && scanner.Scan(); n++ {
		if scanner.Text() == "pulled" {
			ended = true
		}
	}
	if pause > 0 {
		timer := time.NewTimer(pause)
		<-timer.C
	}
	_ = cmd.Process.Kill()
	for scanner.Scan() {
		ended = ended || scanner.Text() == "pulled"
	}
	_ = cmd.Wait()
	return ended
}

// checkWhole fails if anything in the store is half there.
func checkWhole(tb testing.TB, dir, ref, id string, pulled bool) {
	tb.Helper()
	s := openStore(tb, dir)
	got, err := s.Lookup(ref)
	if pulled && err != nil || err == nil && got.ID != id || err != nil && (!errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged)) {
		tb.Errorf("Lookup = %s, %v (pulled: %v), want %s or nothing", got.ID, err, pulled, id)
	}
	var used []string
	for _, e := range s.records() {
		used = append(used, e.files()...)
	}
	for _, name := range contents(tb, dir) {
		if !strings.HasPrefix(name, partsDir+"/") && !bytes.Contains([]byte(strings.Join(used, " ")), []byte(name)) {
			tb.Errorf("%s was left", name)
		}
	}
	if stray, err := filepath.Glob(filepath.Join(dir, "*", ".*")); err != nil || len(stray) > 0 {
		tb.Errorf("%v were left", stray)
	}
}

func TestAPullThatIsKilledLeavesAWholeStore(t *testing.T) {
	reg := registrytest.New(t)
	var layers []v1.Layer
	for n := range 4 {
		text := strings.Repeat(fmt.Sprintf("%d some text that can be packed\n", n), 20000)
		layers = append(layers, registrytest.Layer(t, registrytest.Gzip, registrytest.File(fmt.Sprintf("d%d/f", n), text), registrytest.File("a/b/c", text)))
	}
	img := registrytest.Image(t, v1.Config{}, layers...)
	reg.Push(t, "web", img)
	config, _, _ := digests(t, img)
	sif, digest := bigSIF(t, 8<<20)
	reg.PushSIF(t, "app", "app.sif", sif)
	for name, id := range map[string]string{"web": config, "app": digest} {
		t.Run(name, func(t *testing.T) {
			const tries = 24
			ref, finished := reg.Host+"/"+name+":latest", 0
			for i := range tries {
				dir := t.TempDir()
				cmd, out := child(t, dir, ref)
				lines := i % 12
				pulled := killAfter(t, cmd, out, lines, time.Duration(i)*time.Millisecond)
				checkWhole(t, dir, ref, id, pulled)
				if pulled {
					finished++
				}
				if i%10 == 0 {
					must(t)(openWith(t, reg, dir).Pull(t.Context(), ref, PullOptions{}))
					checkWhole(t, dir, ref, id, true)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d of %d had ended before they were killed", finished, tries)
		})
	}
}

func TestProcessesThatPullTheSameThingAllSucceed(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	first, second := twoLayers(t, "one"), twoLayers(t, "two")
	reg.Push(t, "web:1", first)
	reg.Push(t, "web:2", second)
	sif, digest := bigSIF(t, 4<<20)
	reg.PushSIF(t, "app", "app.sif", sif)
	for range 5 {
		var children []*exec.Cmd
		for i := range 6 {
			cmd, out := child(t, dir, reg.Host+[]string{"/web:1", "/web:2", "/app"}[i%3])
			children = append(children, cmd)
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
		}
		s := openWith(t, reg, dir) // opened and collected meanwhile
		if _, err := s.Collect(t.Context()); err != nil {
			t.Error(err)
		}
		for _, cmd := range children {
			if err := cmd.Wait(); err != nil {
				t.Errorf("a pull beside others: %v", err)
			}
		}
		config, _, _ := digests(t, first)
		checkWhole(t, dir, reg.Host+"/web:1", config, true)
		checkWhole(t, dir, reg.Host+"/app", digest, true)
		for _, ref := range []string{"/web:1", "/web:2", "/app"} {
			if err := s.Remove(t.Context(), reg.Host+ref); err != nil {
				t.Error(err)
			}
		}
		if left := contents(t, dir); left != nil {
			t.Errorf("%v were left", left)
		}
	}
}

func TestOpenLeavesThePullsOfOtherProcesses(t *testing.T) {
	reg, dir := registrytest.New(t), t.TempDir()
	img := twoLayers(t, "one")
	reg.Push(t, "web", img)
	config, layers, diffIDs := digests(t, img)
	hanging, release := reg.HangBlob(t, layers[1], 10, -1)
	cmd, out := child(t, dir, reg.Host+"/web")
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	<-hanging
	// The other layer is complete and belongs to no image yet.
	waitFor(t, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, ingestDir, "*", diffIDs[0][7:]+".sif"))
		return err == nil && len(found) == 1
	})
	s := openWith(t, reg, dir)
	if freed, err := s.Collect(t.Context()); err != nil || freed != 0 {
		t.Errorf("Collect = %d, %v, want nothing", freed, err)
	}
	reg.ClearHooks()
	release()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the other process's pull: %v", err)
	}
	checkWhole(t, dir, reg.Host+"/web", config, true)
}
