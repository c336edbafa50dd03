package services_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// keptVar names a directory that keeps what takes long to make for the next run.
const keptVar = "SIFLET_TEST_IMAGES"

// The repository that the document installs a server from; the tests' server is
// where the image finds it instead.
const (
	repository = "https://github.com/alvarcarto/url-to-pdf-api.git"
	standIn    = "/srv/pdf_server.git"
)

// makeDebian makes dir/debian.tar, a Debian system with everything that the document's
// images have, or says in dir/debian.why why it can't.
func makeDebian(dir string) error {
	why := debianArchive(filepath.Join(dir, "debian.tar"))
	if why == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "debian.why"), []byte(why), 0o600)
}

func debianArchive(path string) (why string) {
	if testing.Short() {
		return "makes a Debian system: left out of short tests"
	}
	if err := npmAnswers(); err != nil {
		return fmt.Sprintf("needs the npm registry: %v", err)
	}
	kept := os.Getenv(keptVar)
	if kept != "" {
		kept = filepath.Join(kept, "services-bookworm.tar")
		if err := os.Link(kept, path); err == nil {
			return ""
		}
	}
	for _, name := range []string{"mmdebstrap", "git", "curl", "pdftotext"} {
		if _, err := exec.LookPath(name); err != nil {
			return "needs the program " + name
		}
	}
	const limit = 15 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args := []string{
		"--variant=minbase", "--include=nodejs,npm,git,curl,ca-certificates,procps,nginx-light,chromium-headless-shell,fonts-liberation",
	}
	// What nobody needs to draw a page, half of it.
	for pattern := range strings.FieldsSeq("/usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/include/* /usr/lib/*/libLLVM* " +
		"/usr/lib/*/libz3.so* /usr/lib/*/dri/* /usr/lib/chromium/libVkLayer*") {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, "bookworm", path)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	// Asked to end, it removes what it has made.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.Remove(path) // it may have begun
		const last = 500
		return fmt.Sprintf("needs a Debian mirror: mmdebstrap: %v\n%s", err, out[max(0, len(out)-last):])
	}
	if kept != "" {
		_ = os.Link(path, kept) // what can't be kept is made again
	}
	return ""
}

// npmAnswers asks the npm registry for something small.
func npmAnswers() error {
	client := http.Client{Timeout: patience}
	r, err := client.Get(npmRegistry + "/express/latest")
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", r.Status)
	}
	return errors.Join(err, r.Body.Close())
}

// pushDebian pushes the system as the images that the document builds from.
func pushDebian(t *testing.T, server *registrytest.Server) {
	t.Helper()
	archive, err := os.ReadFile(work("debian.tar"))
	if err != nil {
		t.Fatal(err)
	}
	layers := []v1.Layer{
		registrytest.LayerOf(t, registrytest.None, archive),
		registrytest.Layer(t, registrytest.None, append(repositoryEntries(t),
			registrytest.File("etc/gitconfig", fmt.Sprintf("[url \"file://%s\"]\n\tinsteadOf = %s\n", standIn, repository)),
			registrytest.File("etc/apt/apt.conf.d/90gateway", fmt.Sprintf("Acquire::http::Proxy \"http://%s\";\nAcquire::Languages \"none\";\n", gateway)),
			registrytest.File("root/.npmrc", fmt.Sprintf("registry=http://%s/npm/\nupdate-notifier=false\n", gateway)),
		)...),
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	// What a web server has no use for is half of it.
	without := registrytest.Layer(t, registrytest.None,
		registrytest.File("usr/lib/.wh.chromium", ""), registrytest.File("usr/share/.wh.nodejs", ""),
		registrytest.File("usr/lib/.wh.python3.11", ""), registrytest.File("usr/lib/.wh.git-core", ""))
	nginx := registrytest.Image(t, v1.Config{Env: env, Cmd: []string{"nginx", "-g", "daemon off;"}}, append(slices.Clone(layers), without)...)
	node := registrytest.Image(t, v1.Config{Env: append(env, "NODE_VERSION=18"), Cmd: []string{"node"}}, layers...)
	server.Push(t, "nginx:latest", nginx)
	server.Push(t, "library/nginx:latest", nginx)
	server.Push(t, "library/node:20", node)
}

// repositoryEntries are the files of a git repository with the tests' server.
func repositoryEntries(t *testing.T) []registrytest.Entry {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("testdata/pdf_server")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", `
cp -r "$1" tree
git init -q tree
git -C tree add .
git -C tree -c user.name=tests -c user.email=tests@localhost commit -qm server
git clone -q --bare tree bare`, "sh", source)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a git repository: %v\n%s", err, out)
	}
	bare := filepath.Join(dir, "bare")
	var entries []registrytest.Entry
	err = filepath.WalkDir(bare, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := standIn[1:] + strings.TrimPrefix(path, bare)
		if d.IsDir() {
			entries = append(entries, registrytest.Dir(name+"/"))
			return nil
		}
		text, err := os.ReadFile(path)
		entries = append(entries, registrytest.Entry{Header: tar.Header{Name: name}, Content: string(text)})
		return err
	})
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	return entries
}
