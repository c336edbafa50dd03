package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	writer "github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/trust"
	"github.com/siflet/siflet/test/siftest"
)

// madeImages are images that a test made by hand, beside those of a store.
type madeImages struct {
	*image.Store

	made map[string]image.Image

	mu   sync.Mutex
	pins map[string]string // owner by ID
}

// Lookup finds an image.
func (m *madeImages) Lookup(ref string) (image.Image, error) {
	for name, i := range m.made {
		if ref == name || ref == i.ID {
			return i, nil
		}
	}
	return m.Store.Lookup(ref)
}

// Pin keeps an image.
func (m *madeImages) Pin(id, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.made {
		if i.ID == id {
			m.pins[id] = owner
			return nil
		}
	}
	return m.Store.Pin(id, owner)
}

// make adds an image of these layers, lowest first.
func (n *testNode) make(ref string, c image.Config, layers ...image.Extent) {
	m, ok := n.cfg.Images.(*madeImages)
	if !ok {
		m = &madeImages{Store: n.store, made: map[string]image.Image{}, pins: map[string]string{}}
		n.cfg.Images = m
	}
	m.made[ref] = image.Image{
		ID: "sha256:" + fmt.Sprintf("%064x", len(m.made)+1), References: []string{ref}, Extents: layers, Config: c,
	}
}

// base is the node's image as a layer.
func (n *testNode) base(t *testing.T) image.Extent {
	t.Helper()
	i, err := image.File(n.image)
	must(t, err)
	return i.Extents[0]
}

// layer is one that has these files, in a file of its own.
func layer(t *testing.T, files map[string]string) image.Extent {
	t.Helper()
	return together(t, files)[0]
}

// together makes layers in one file.
func together(t *testing.T, layers ...map[string]string) []image.Extent {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "layers"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	must(t, err)
	defer f.Close()
	var out []image.Extent
	at := int64(0)
	for _, files := range layers {
		w, err := writer.New(t.Context(), io.NewOffsetWriter(f, at), writer.Options{Compression: writer.Gzip, Workers: 1})
		must(t, err)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			var text io.Reader
			if len(files[name]) > 0 {
				text = strings.NewReader(files[name])
			}
			must(t, w.Add(writer.Entry{Path: name, Mode: syscall.S_IFREG | 0o644, Size: int64(len(files[name]))}, text))
		}
		size, err := w.Close()
		must(t, err)
		out = append(out, image.Extent{Path: f.Name(), Offset: at, Size: size, FS: "squashfs"})
		at += size
	}
	return out
}

// outputOf runs a container to its end and returns its exit code and output.
func outputOf(t *testing.T, e *runtime.Engine, instance string, s runtime.ContainerSpec) (int, string) {
	t.Helper()
	made, err := e.CreateContainer(t.Context(), instance, s)
	must(t, err)
	must(t, e.StartContainer(t.Context(), made.ID))
	ended, err := e.Wait(t.Context(), made.ID)
	must(t, err)
	text, err := os.ReadFile(ended.LogPath)
	must(t, err)
	var out []string
	for line := range strings.Lines(string(text)) {
		if _, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " F "); ok {
			out = append(out, rest)
		}
	}
	return ended.ExitCode, strings.Join(out, "\n")
}

func TestPodOfAHundredLayersInSeveralFiles(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	layers := []image.Extent{n.base(t)}
	var files []map[string]string
	for k := range 99 {
		files = append(files, map[string]string{"layers/" + strconv.Itoa(k): "", "top": strconv.Itoa(k) + "\n"})
	}
	layers = append(layers, together(t, files[:40]...)...)
	for _, file := range files[40:] {
		layers = append(layers, layer(t, file))
	}
	n.make("many", image.Config{}, layers...)
	n.make("mounted", image.Config{}, layers[1:]...)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	for name, upper := range map[string]runtime.UpperKind{"disk": runtime.UpperDisk, "tmpfs": runtime.UpperTmpfs, "none": runtime.UpperNone} {
		s := n.container("c"+name, "sh", "-c", "ls /layers | wc -l; cat /top; ls /mnt/layers | wc -l; cat /mnt/top")
		s.Image, s.Upper = "many", upper
		s.Mounts = []runtime.Mount{{Image: "mounted", Target: "/mnt", Readonly: true}}
		if code, out := outputOf(t, e, i.ID, s); code != 0 || out != "99\n98\n99\n98" {
			t.Errorf("%s: exit code %d, output %q, want 99 layers and 98 on top, twice", name, code, out)
		}
	}
}

func TestVolumesOfAnImageAreWritableInAReadOnlyRoot(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	n.make("app", image.Config{Volumes: []string{"/data", "/new/deep", "/data/sub", "/mnt/db", "relative"}}, n.base(t),
		layer(t, map[string]string{"data/kept": "from the image\n"}))
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	host := t.TempDir()
	for _, readonly := range []bool{true, false} {
		s := n.container(fmt.Sprintf("c-%v", readonly), "sh", "-ec", `cat /data/kept; echo changed >/data/kept; cat /data/kept
			for d in /data /data/sub /new/deep /relative; do echo x >$d/file; done; rm /data/file; ls /data
			echo x >/mnt/db/file; touch /outside 2>/dev/null && echo open || echo shut`)
		s.Image, s.Security.ReadonlyRoot = "app", readonly
		s.Mounts = []runtime.Mount{{Source: host, Target: "/mnt"}}
		must(t, os.MkdirAll(host+"/db", 0o755))
		want := "from the image\nchanged\nkept\nsub\nopen"
		if readonly {
			want = "from the image\nchanged\nkept\nsub\nshut"
		}
		if code, out := outputOf(t, e, i.ID, s); code != 0 || out != want {
			t.Errorf("read-only %v: exit code %d, output %q, want %q", readonly, code, out, want)
		}
		if text, err := os.ReadFile(host + "/db/file"); err != nil || string(text) != "x\n" {
			t.Errorf("what was written below a mount that covers a volume: %q, %v", text, err)
		}
	}
	if used := e.DiskUsage(""); used.Bytes == 0 || used.Inodes < 10 {
		t.Errorf("DiskUsage() = %+v, want what both containers wrote", used)
	}
	for _, c := range e.Containers() {
		must(t, e.RemoveContainer(t.Context(), c.ID))
	}
	if left, _ := filepath.Glob(n.dir + "/state/instances/*/containers/*"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if used := e.DiskUsage(""); used.Bytes != 0 {
		t.Errorf("DiskUsage() = %+v, want nothing", used)
	}
}

// judge is a policy that a test changes.
type judge struct {
	mu      sync.Mutex
	forbids string
	asked   []trust.Subject
}

// Check forbids what the judge does.
func (j *judge) Check(_ context.Context, s trust.Subject) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, s)
	if slices.Contains(s.References, j.forbids) {
		return fmt.Errorf("%w: %s is not signed", trust.ErrPolicy, j.forbids)
	}
	return nil
}

func (j *judge) forbid(ref string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forbids = ref
}

func TestPolicyIsAskedAtCreationAndAtEveryStart(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	n.make("app", image.Config{}, n.base(t))
	n.make("tools", image.Config{}, n.base(t))
	policy := &judge{}
	n.cfg.Trust = policy
	e, err := runtime.Open(t.Context(), n.cfg)
	must(t, err)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	spec := func(name string) runtime.ContainerSpec {
		s := n.container(name, "true")
		s.Image, s.Mounts = "app", []runtime.Mount{{Image: "tools", Target: "/mnt", Readonly: true}}
		return s
	}
	for _, ref := range []string{"app", "tools"} {
		policy.forbid(ref)
		if _, err := e.CreateContainer(t.Context(), i.ID, spec("refused")); !errors.Is(err, runtime.ErrDenied) {
			t.Errorf("CreateContainer() = %v, want %v because of %s", err, runtime.ErrDenied, ref)
		}
		policy.forbid("")
		made, err := e.CreateContainer(t.Context(), i.ID, spec("made-"+ref))
		must(t, err)
		policy.forbid(ref)
		err = e.StartContainer(t.Context(), made.ID)
		if !errors.Is(err, runtime.ErrDenied) || !strings.Contains(err.Error(), "SignatureValidationFailed: "+ref+" is not signed") {
			t.Errorf("StartContainer() = %v, want %v because of %s", err, runtime.ErrDenied, ref)
		}
		if got, err := e.Container(made.ID); err != nil || got.State != runtime.ContainerExited {
			t.Errorf("the container is %s, %v, want %s", got.State, err, runtime.ContainerExited)
		}
	}
	policy.forbid("")
	made, err := e.CreateContainer(t.Context(), i.ID, spec("late"))
	must(t, err)
	must(t, e.Close())
	policy.asked = nil
	e = n.open(t)
	must(t, e.StartContainer(t.Context(), made.ID))
	if len(policy.asked) != 2 || policy.asked[0].Namespace != "default" || !slices.Equal(policy.asked[0].References, []string{"app"}) ||
		!slices.Equal(policy.asked[1].References, []string{"tools"}) {
		t.Errorf("a new engine asked about %+v, want app and tools in namespace default", policy.asked)
	}
}

func TestStartRefusesAFileThatWasChangedSinceTheCreation(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	c, err := e.CreateContainer(t.Context(), i.ID, n.container("c", "true"))
	must(t, err)
	other := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{"other": ""}})
	must(t, os.Rename(other, n.image))
	if err := e.StartContainer(t.Context(), c.ID); !errors.Is(err, runtime.ErrNotFound) || !strings.Contains(err.Error(), "another image now") {
		t.Errorf("StartContainer() = %v, want that the file is another image now", err)
	}
}

func TestContainerGoesOnWhenItsImageIsRemoved(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	imported, err := n.store.Import(t.Context(), n.image, "app", nil)
	must(t, err)
	e := n.open(t)
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	running, err := e.CreateContainer(t.Context(), i.ID, n.with("running", imported.ID))
	must(t, err)
	must(t, e.StartContainer(t.Context(), running.ID))
	created, err := e.CreateContainer(t.Context(), i.ID, n.with("created", imported.ID))
	must(t, err)
	must(t, n.store.Remove(t.Context(), imported.ID))
	out, _, exit, err := e.ExecSync(t.Context(), running.ID, runtime.ExecSpec{Args: []string{"ls", "-d", "/srv"}}, 1<<10)
	if err != nil || exit.Code != 0 || string(out) != "/srv\n" {
		t.Errorf("ExecSync(ls) = %q, %+v, %v", out, exit, err)
	}
	must(t, e.StartContainer(t.Context(), created.ID))
	for _, c := range e.Containers() {
		must(t, e.RemoveContainer(t.Context(), c.ID))
	}
	if _, err := os.Stat(imported.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of an image that was removed and that nobody uses: %v, want it gone", err)
	}
}

// with is a sleeper of another image.
func (n *testNode) with(name, image string) runtime.ContainerSpec {
	s := n.sleeper(name)
	s.Image = image
	return s
}
