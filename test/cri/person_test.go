package cri_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// person is somebody at the command line, with a home and cgroups of their own.
type person struct {
	t   *testing.T
	env []string
}

func newPerson(t *testing.T) *person {
	t.Helper()
	dir := t.TempDir()
	writePolicy(t, filepath.Join(dir, "policy.toml"), "")
	parent := "/siflet-person-" + strconv.Itoa(os.Getpid())
	p := &person{t: t, env: append(
		os.Environ(), "HOME="+dir, "SIFLET_CONFIGDIR="+dir+"/.siflet", "SIFLET_STATE_DIR="+dir+"/node", "SIFLET_RUN_DIR="+dir+"/run",
		"SIFLET_CGROUP_PARENT="+parent, "SIFLET_POLICY_FILE="+dir+"/policy.toml",
	)}
	t.Cleanup(func() {
		if t.Failed() {
			p.clean()
		}
		a := &agent{t: t, parent: parent, dir: dir}
		a.checkNoProcess()
		a.checkNoCgroup()
	})
	return p
}

// clean stops what a test that failed left.
func (p *person) clean() {
	cmd := exec.CommandContext(context.Background(), filepath.Join(programs, "siflet"), "instance", "stop", "--all", "--force")
	cmd.Env = p.env
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Logf("stop all: %v\n%s", err, out)
	}
}

// runs runs siflet and returns its output, trimmed, and exit status.
func (p *person) runs(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	cmd := exec.CommandContext(within(p.t), filepath.Join(programs, "siflet"), args...)
	cmd.Env, cmd.Dir = p.env, "/"
	var out, errs output
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		p.t.Fatalf("siflet %q: %v", args, err)
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState.ExitCode()
}

func TestPersonRunsImagesOfLayers(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "app:latest", registrytest.Image(t, v1.Config{
		Entrypoint: []string{"sh", "-c", `echo "$FROM $0 $*"`}, Cmd: []string{"cmd"}, Env: []string{"FROM=image"},
	}, busyboxLayer(t), registrytest.Layer(t, registrytest.Gzip, registrytest.File("top", "of two layers\n"))))
	s.Push(t, "service:latest", registrytest.Image(t, v1.Config{Entrypoint: []string{"sh", "-c", `echo "serving $0"; [ "$1" = once ] || sleep 1000`}}, busyboxLayer(t)))
	p := newPerson(t)
	app, service := "docker://"+s.Host+"/app", "docker://"+s.Host+"/service"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", app, "cat", "/top"}, "of two layers"},
		{[]string{"exec", app, "sh", "-c", "echo $FROM $SINGULARITY_NAME"}, "image app:latest"},
		{[]string{"run", app}, "image cmd"},
		{[]string{"run", app, "a", "b"}, "image a b"},
	} {
		if out, errs, code := p.runs(c.args...); code != 0 || out != c.want {
			t.Errorf("siflet %q: exit status %d, %q, want %q\n%s", c.args, code, out, c.want, errs)
		}
	}
	if out, errs, code := p.runs("instance", "start", service, "svc"); code != 0 {
		t.Fatalf("instance start: exit status %d\n%s%s", code, out, errs)
	}
	if out, errs, code := p.runs("exec", "instance://svc", "cat", "/etc/group"); code != 0 || !strings.Contains(out, "staff") {
		t.Errorf("exec in the instance: exit status %d, %q\n%s", code, out, errs)
	}
	if out, errs, code := p.runs("run", "instance://svc", "again", "once"); code != 0 || out != "serving again" {
		t.Errorf("run in the instance: exit status %d, %q\n%s", code, out, errs)
	}
	eventually(t, "the service to say that it serves", func() bool {
		out, _, _ := p.runs("instance", "logs", "svc")
		return strings.Contains(out, "serving")
	})
	if out, errs, code := p.runs("instance", "stop", "svc"); code != 0 {
		t.Errorf("instance stop: exit status %d\n%s%s", code, out, errs)
	}
}

func TestPersonsInstancesAreListedByTheNamesOfTheirImages(t *testing.T) {
	s := registrytest.New(t)
	text, err := os.ReadFile(siftest.Build(t, siftest.Options{Busybox: true, Startscript: "sleep 1000"}))
	if err != nil {
		t.Fatal(err)
	}
	s.PushSIF(t, "app:1", "app.sif", text)
	p := newPerson(t)
	if out, errs, code := p.runs("instance", "start", "docker://"+s.Host+"/app:1", "svc"); code != 0 {
		t.Fatalf("instance start: exit status %d\n%s%s", code, out, errs)
	}
	if out, errs, code := p.runs("instance", "list"); code != 0 || !strings.Contains(out, " "+s.Host+"/app:1 ") {
		t.Errorf("instance list: exit status %d, %q, want the image's name, %s/app:1\n%s", code, out, s.Host, errs)
	}
	if out, errs, code := p.runs("instance", "stop", "svc"); code != 0 {
		t.Errorf("instance stop: exit status %d\n%s%s", code, out, errs)
	}
}

func TestPersonIsHeldToThePolicy(t *testing.T) {
	s := registrytest.New(t)
	s.Push(t, "app:latest", registrytest.Image(t, v1.Config{}, busyboxLayer(t)))
	p := newPerson(t)
	app := "docker://" + s.Host + "/app"
	if _, errs, code := p.runs("exec", app, "true"); code != 0 {
		t.Fatalf("exec without a policy: exit status %d\n%s", code, errs)
	}
	policy := strings.TrimPrefix(p.env[len(p.env)-1], "SIFLET_POLICY_FILE=")
	writePolicy(t, policy, "default = \"reject\"\n")
	path := busybox(t)
	for _, args := range [][]string{{"exec", app, "true"}, {"exec", path, "true"}, {"instance", "start", path, "refused"}} {
		if out, errs, code := p.runs(args...); code != 255 || !strings.Contains(errs, "SignatureValidationFailed") {
			t.Errorf("siflet %q: exit status %d, %q, %q, want SignatureValidationFailed", args, code, out, errs)
		}
	}
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"exec", app, "true"}, {"exec", path, "true"}, {"pull", filepath.Join(t.TempDir(), "x.sif"), app}} {
		if out, errs, code := p.runs(args...); code != 255 || !strings.Contains(errs, policy+": there is no such file") {
			t.Errorf("without the file: siflet %q: exit status %d, %q, %q, want that it is missing", args, code, out, errs)
		}
	}
}
