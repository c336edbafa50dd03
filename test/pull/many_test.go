package pull_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// busyboxLayer is a layer with a shell.
func busyboxLayer(t *testing.T) v1.Layer {
	t.Helper()
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox: Debian's busybox-static")
	}
	program := registrytest.File("bin/busybox", string(binary))
	program.Mode = 0o755
	entries := []registrytest.Entry{registrytest.Dir("bin/"), program}
	for _, name := range []string{"sh", "cat", "echo", "find", "wc", "sleep", "sha256sum", "true"} {
		entries = append(entries, registrytest.Symlink("bin/"+name, "busybox"))
	}
	return registrytest.Layer(t, registrytest.Gzip, entries...)
}

// manyFiles makes layers of small files, with overlaps and whiteouts, and says what
// they amount to.
func manyFiles(t *testing.T) (layers []v1.Layer, want map[string]string) {
	t.Helper()
	want = map[string]string{}
	add := func(entries []registrytest.Entry, from, to int, text string) []registrytest.Entry {
		const each = 400
		for n := from; n < to; n++ {
			dir := fmt.Sprintf("data/d%03d", n/each)
			if n == from || n%each == 0 {
				entries = append(entries, registrytest.Dir(dir+"/"))
			}
			name := fmt.Sprintf("%s/f%06d", dir, n)
			want[name] = text + " " + strconv.Itoa(n)
			entries = append(entries, registrytest.File(name, want[name]))
		}
		return entries
	}
	first := add([]registrytest.Entry{registrytest.Dir("data/")}, 0, 70_000, "first")
	second := add(nil, 65_000, 95_000, "second")
	third := add(nil, 90_000, 110_000, "third")
	gone := func(prefix string) {
		for name := range want {
			if strings.HasPrefix(name, prefix) {
				delete(want, name)
			}
		}
	}
	// A directory goes, one is emptied and filled anew, and every hundredth file goes.
	gone("data/d000/")
	gone("data/d001/")
	third = append(third, registrytest.File("data/.wh.d000", ""), registrytest.Dir("data/d001/"), registrytest.File("data/d001/.wh..wh..opq", ""))
	third = add(third, 500, 510, "new")
	for n := 1000; n < 60_000; n += 100 {
		name := fmt.Sprintf("data/d%03d/f%06d", n/400, n)
		delete(want, name)
		third = append(third, registrytest.File(fmt.Sprintf("data/d%03d/.wh.f%06d", n/400, n), ""))
	}
	return []v1.Layer{
		busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, first...), registrytest.Layer(t, registrytest.Zstd, second...),
		registrytest.Layer(t, registrytest.Gzip, third...),
	}, want
}

func TestManySmallFilesInLayersArriveWhole(t *testing.T) {
	layers, want := manyFiles(t)
	if len(want) < 100_000 {
		t.Fatalf("the image has %d files, want 100,000 at least", len(want))
	}
	server := registrytest.New(t)
	server.Push(t, "many:1", registrytest.Image(t, v1.Config{Cmd: []string{"sh", "-c", "find /data -type f | wc -l; cat /data/d001/*"}}, layers...))
	a := start(t, server.Certs(t))
	id := a.mustPull(server.Host + "/many:1")
	a.checkStore()
	p := a.pod("p")
	said := strconv.Itoa(len(want)) + "\nnew 500new 501new 502new 503new 504new 505new 506new 507new 508new 509"
	if got := strings.TrimSuffix(p.said(p.launch(container("count", id))), "\n"); got != said {
		t.Errorf("the container counted %q, want %q", got, said)
	}
	root := a.root(p.launch(container("idle", id, "sleep", "100000")))
	wrong := 0
	must(t, filepath.WalkDir(root+"/data", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name := strings.TrimPrefix(path, root+"/")
		if expected, ok := want[name]; (!ok || string(text) != expected) && wrong < 10 {
			wrong++
			t.Errorf("%s is %q, want %q", name, text, expected)
		}
		delete(want, name)
		return err
	}))
	for name := range want {
		t.Fatalf("%d files are missing: %s", len(want), name)
	}
}
