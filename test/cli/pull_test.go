package cli_test

import (
	"archive/tar"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/test/registrytest"
)

// registries is the registry of a script, with images of busybox:
//
//	app:1     prints its arguments: entry point, then command
//	layers:1  the same, from several layers, for amd64 and arm64
//	nasty:1   has arguments, variables and labels that a shell would make something of
//	acl:1     has a POSIX ACL
//	squashed:1 is app:1 as an OCI-SIF that was pushed as an image: its layer is a squashfs
//	sif:1     is $BB as an artifact
//
// Its address is $REGISTRY.
type registries struct {
	t      *testing.T
	server *registrytest.Server
}

// command is
//
//	registry start [USERNAME PASSWORD]
//	registry save NAME FILE             as docker save does
//	registry interrupt COMMAND...       when it waits for a layer; it must end with 130
//	registry kill COMMAND...            when it waits for a layer
func (r *registries) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry start|save|interrupt|kill")
	}
	switch args[0] {
	case "start":
		o := registrytest.Options{}
		if len(args) == 3 {
			o.Username, o.Password = args[1], args[2]
		}
		r.server = registrytest.Start(r.t, o)
		ts.Setenv("REGISTRY", r.server.Host)
		r.push(ts)
	case "save":
		ref, err := name.NewTag(args[1])
		ts.Check(err)
		ts.Check(tarball.WriteToFile(ts.MkAbs(args[2]), ref, r.app(ts)))
	case "interrupt":
		r.stop(ts, os.Interrupt, 130, args[1:])
	case "kill":
		r.stop(ts, os.Kill, -1, args[1:])
	default:
		ts.Fatalf("unknown: registry %s", args[0])
	}
}

func (r *registries) push(ts *testscript.TestScript) {
	t, s := r.t, r.server
	s.Push(t, "app:1", r.app(ts))
	layered := func(arch string) v1.Image {
		return registrytest.ImageFor(t, v1.Platform{OS: "linux", Architecture: arch}, printer("entry"), r.busybox(ts),
			registrytest.Layer(t, registrytest.Zstd, registrytest.File("etc/arch", arch+"\n"), registrytest.File("etc/old", "old\n"), registrytest.Dir("var/run"),
				registrytest.Dir("opaque"), registrytest.File("opaque/below", "")),
			registrytest.Layer(t, registrytest.Gzip, registrytest.File("etc/.wh.old", ""), registrytest.File("etc/new", "new\n"),
				registrytest.File("opaque/.wh..wh..opq", ""), registrytest.File("opaque/above", "")))
	}
	s.PushIndex(t, "layers:1", registrytest.Index(t, layered("amd64"), layered("arm64")))
	nasty := printer("$HOME", "`id`", `a"b'c\`, "$(id)", "two words", "*", "")
	nasty.Cmd = []string{"; echo pwned", "}"}
	nasty.Env = append(nasty.Env, "NASTY=$(id) \"q\" 'q' `id` \\ {a,b} }", "bad-name=x")
	nasty.Labels = map[string]string{"nasty": "\"</script> $(id)\n"}
	s.Push(t, "nasty:1", registrytest.Image(t, nasty, r.busybox(ts)))
	s.Push(t, "squashed:1", registrytest.Image(t, printer("entry"), squashed(ts, r.busybox(ts))))
	protected := registrytest.File("etc/protected", "x")
	protected.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_access": acl}
	s.Push(t, "acl:1", registrytest.Image(t, printer("entry"), r.busybox(ts), registrytest.Layer(t, registrytest.Gzip, protected)))
	sif, err := os.ReadFile(ts.Getenv("BB"))
	ts.Check(err)
	s.PushSIF(t, "sif:1", "bb.sif", sif)
}

// acl lets the owner write, and the user 1000 and the group read.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// printer is the config of an image that prints its arguments, one in a line.
func printer(args ...string) v1.Config {
	return v1.Config{
		Entrypoint: append([]string{"/bin/printf", "<%s>\\n"}, args...), Cmd: []string{"cmd one", "two"},
		Env: []string{"PATH=/image/bin:/bin", "A=from image"}, User: "1000", WorkingDir: "/etc",
		Labels: map[string]string{"own": "label"},
	}
}

func (r *registries) app(ts *testscript.TestScript) v1.Image {
	return registrytest.Image(r.t, printer("entry"), r.busybox(ts))
}

// busybox is a layer with the machine's static busybox and links to it.
func (r *registries) busybox(ts *testscript.TestScript) v1.Layer {
	text, err := os.ReadFile("/bin/busybox")
	ts.Check(err)
	entries := []registrytest.Entry{
		registrytest.Dir("bin/"),
		{Header: tar.Header{Name: "bin/busybox", Mode: 0o755}, Content: string(text)},
		registrytest.Dir("etc/"), registrytest.File("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
		registrytest.Symlink("etc/resolv.conf", "/run/resolv.conf"),
	}
	for applet := range strings.FieldsSeq("sh printf echo cat env ls sleep true id stat pwd") {
		entries = append(entries, registrytest.Symlink("bin/"+applet, "busybox"))
	}
	return registrytest.Layer(r.t, registrytest.Gzip, entries...)
}

// squashed is what a layer becomes in an OCI-SIF.
func squashed(ts *testscript.TestScript, from v1.Layer) v1.Layer {
	blob, err := from.Compressed()
	ts.Check(err)
	kind, err := from.MediaType()
	ts.Check(err)
	out, err := os.OpenFile(ts.MkAbs(".squashed"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	ts.Check(err)
	_, err = layer.Convert(context.Background(), blob, string(kind), out, layer.Options{Squashfs: squashfs.Options{Compression: squashfs.Gzip}})
	ts.Check(errors.Join(err, blob.Close(), out.Close()))
	text, err := os.ReadFile(out.Name())
	ts.Check(errors.Join(err, os.Remove(out.Name())))
	return registrytest.Raw(text, text, "application/vnd.sylabs.image.layer.v1.squashfs")
}

// stop lets layers hang, sends a signal to what waits for them, and wants to see it end
// with a status.
func (r *registries) stop(ts *testscript.TestScript, signal os.Signal, want int, args []string) {
	asked, once := make(chan struct{}), sync.Once{}
	r.server.Hook(func(w http.ResponseWriter, request *http.Request) bool {
		if !strings.Contains(request.URL.Path, "/blobs/") {
			return false
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			r.t.Error(err)
		}
		once.Do(func() { close(asked) })
		<-request.Context().Done()
		return true
	})
	defer r.server.ClearHooks()
	cmd := exec.Command(filepath.Join(os.Getenv(binVar), args[0]), args[1:]...)
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH")}
	cmd.Dir = ts.Getenv("WORK")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(cmd.Start())
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-asked:
	case <-deadline.C:
		ts.Check(cmd.Process.Kill())
		ts.Fatalf("no layer was asked for: %v", cmd.Wait())
	}
	ts.Check(cmd.Process.Signal(signal))
	_ = cmd.Wait() // how it ended is looked at below
	if code := cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("it ended with %d, want %d", code, want)
	}
}
