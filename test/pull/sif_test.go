package pull_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// TestDebianAsAFileIsTheImage pulls Debian to files for people, flat and layered, and
// compares what pods of them see with what the kernel's overlay makes of the layers.
func TestDebianAsAFileIsTheImage(t *testing.T) {
	archives := debianLayers(t)
	server := registrytest.Debian(t)
	server.Push(t, "debian:12", imageOf(t, registrytest.Zstd, debianConfig(), archives))
	want := walk(t, reference(t, archives), places()...)
	me := newPerson(t, server.Certs(t), "SIFLET_DOCKER_USERNAME="+server.Auth.Username, "SIFLET_DOCKER_PASSWORD="+server.Auth.Password)
	a := start(t, server.Certs(t))
	p := a.pod("p")
	ref := "docker://" + server.Host + "/debian:12"
	for name, c := range map[string]struct {
		flags  []string
		differ func(path, what string) bool
	}{
		"flat.sif":   {nil, flatMayDiffer},
		"layers.sif": {[]string{"--oci"}, sifMayDiffer},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(me.dir, name)
			me.siflet(append(append([]string{"pull"}, c.flags...), path, ref)...)
			me.siflet(append(append([]string{"pull"}, c.flags...), path+".again.sif", ref)...)
			first, err := sumOf(path)
			must(t, err)
			second, err := sumOf(path + ".again.sif")
			must(t, err)
			if first != second {
				t.Errorf("two pulls made %s and %s, want the same bytes", first, second)
			}
			if got := me.siflet("exec", path, "dpkg", "-l"); !strings.Contains(got, "ii  dpkg ") {
				t.Errorf("exec dpkg -l wrote %q", got)
			}
			if got := me.siflet("run", path, "echo args $((1 + 1))"); got != "args 2\n" {
				t.Errorf("run wrote %q, want the argument in CMD's place", got)
			}
			config := container(name, path, "sleep", "100000")
			config.WorkingDir = "/"
			root := a.root(p.launch(config))
			checkMounts(t, root)
			compare(t, "the root of a pod of "+name, walk(t, root, places()...), want, c.differ)
			if name == "flat.sif" {
				testUnsquashfs(t, path, want)
			}
		})
	}
	t.Run("pushed as it is", func(t *testing.T) {
		pushOCISIF(t, server.Pusher, "layers:1", filepath.Join(me.dir, "layers.sif"))
		id, err := a.pullAs(server.Host+"/layers:1", credentials(server))
		if err != nil {
			t.Fatal(err)
		}
		a.checkStore()
		config := container("pushed", id, "sleep", "100000")
		config.WorkingDir = "/"
		root := a.root(p.launch(config))
		compare(t, "the root of a pod of a pushed OCI-SIF", walk(t, root, places()...), want, sifMayDiffer)
	})
	if err := os.RemoveAll("/sys/fs/cgroup/siflet-pull-test-" + filepath.Base(me.dir)); err != nil {
		t.Log(err)
	}
}

// sifMayDiffer adds to a pod's differences what no squashfs can hold. A pod of layers
// from a registry has it.
func sifMayDiffer(path, what string) bool {
	return mayDiffer(path, what) || what == "system.posix_acl_access" && path == "srv/odd/access"
}

// flatMayDiffer adds to a layered image's differences what Singularity and Apptainer
// expect in a file.
func flatMayDiffer(path, what string) bool {
	contract := []string{"singularity", ".run", ".exec", ".test", ".shell", "environment", ".singularity.d"}
	first, _, _ := strings.Cut(path, "/")
	return sifMayDiffer(path, what) || what == "" && slices.Contains(contract, first)
}

// testUnsquashfs lists the file system in a SIF with Debian's tool.
func testUnsquashfs(t *testing.T, path string, want tree) {
	t.Helper()
	f, err := sif.Open(path)
	must(t, err)
	defer f.Close()
	image, err := f.Image()
	must(t, err)
	listed := tool(t, "unsquashfs", "-offset", strconv.FormatInt(image.Extents[0].Offset, 10), "-lln", path)
	for _, line := range []string{
		"-rwsr-xr-x 1/1 ", "squashfs-root/usr/local/bin/suid", "crw-rw-rw- 0/0 ", "squashfs-root/srv/many/linked-2", "squashfs-root/.singularity.d/runscript",
		"drwxrws--- 4711/65534 ", "squashfs-root/usr/bin/dpkg\n",
	} {
		if !strings.Contains(listed, line) {
			t.Errorf("unsquashfs lists no %q", line)
		}
	}
	if n := strings.Count(listed, "squashfs-root"); n < len(want) {
		t.Errorf("unsquashfs lists %d entries, want %d at least", n, len(want))
	}
}

// pushOCISIF pushes the image in an OCI-SIF as it is there.
func pushOCISIF(t *testing.T, to registrytest.Pusher, name, path string) {
	t.Helper()
	f, err := sif.Open(path)
	must(t, err)
	defer f.Close()
	var index v1.IndexManifest
	blobs := map[string][]byte{}
	for _, d := range f.Descriptors {
		if d.Type != sif.TypeOCIBlob && d.Type != sif.TypeOCIIndex {
			continue
		}
		text, err := io.ReadAll(f.Section(d))
		must(t, err)
		if blobs[d.Digest] = text; d.Type == sif.TypeOCIIndex {
			must(t, json.Unmarshal(text, &index))
		}
	}
	if len(index.Manifests) != 1 {
		t.Fatalf("%s has %d images, want one", path, len(index.Manifests))
	}
	text := blobs[index.Manifests[0].Digest.String()]
	var manifest v1.Manifest
	must(t, json.Unmarshal(text, &manifest))
	for _, d := range append(manifest.Layers, manifest.Config) {
		to.PushBlob(t, name, d.MediaType, blobs[d.Digest.String()])
	}
	to.PushManifest(t, name, index.Manifests[0].MediaType, text)
}

func TestPodNamesASIFByItsRegistry(t *testing.T) {
	server := registrytest.New(t)
	text, err := os.ReadFile(siftest.Build(t, siftest.Options{Busybox: true, Runscript: `echo "run: $*"`, Startscript: "echo started"}))
	must(t, err)
	d := server.PushSIF(t, "tools/sif:1", "x.sif", text)
	a := start(t, server.Certs(t))
	p := a.pod("p")
	ids := map[string]bool{}
	name := server.Host + "/tools/sif"
	for n, ref := range []string{name + ":1", "oras://" + name + ":1", name + "@" + d.Digest.String()} {
		id := a.mustPull(ref)
		ids[id] = true
		if got := p.said(p.launch(container("sif-"+strconv.Itoa(n), ref))); got != "started\n" {
			t.Errorf("a pod of %s wrote %q, want its startscript's output", ref, got)
		}
	}
	if len(ids) != 1 {
		t.Errorf("one file by three names is %d images: %v", len(ids), ids)
	}
	// The file is used as it was pulled.
	files, err := filepath.Glob(a.dir + "/state/images/sha256/*")
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("in the store: %q, want one file", files)
	}
	if got, err := os.ReadFile(files[0]); err != nil || string(got) != string(text) {
		t.Errorf("the file in the store has %d bytes, %v, want the %d that were pushed", len(got), err, len(text))
	}
	a.checkStore()
}
