package cri_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const secret = "c1rcumv3nt"

// holding are the files below a directory, but for images, that hold the secret. Each must be its
// owner's alone, and so must a directory above it.
func holding(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(path, dir+"/images/") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(secret)) {
			return err
		}
		names = append(names, filepath.Base(path))
		for _, at := range []string{path, filepath.Dir(path)} {
			if info, err := os.Stat(at); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v, want it to be its owner's alone", at, info.Mode(), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return names
}

func TestHooksSeeTheEnvironmentWhichIsOnNoDisk(t *testing.T) {
	a, dir := cdiAgent(t)
	out := t.TempDir()
	// As NVIDIA's hook does, before and after the container runs.
	hook := script(t, "hook", `bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/'); pwd >`+out+`/$1.cwd; grep -o '"TOKEN=[^"]*"' $bundle/config.json >`+out+`/$1`)
	hooksSpec(t, dir, "{hookName: createRuntime, path: "+hook+", args: [hook, before]}", "{hookName: poststop, path: "+hook+", args: [hook, after]}")
	pod, p := a.hostPod("p")
	c := withCDI(containerConfig("c", busybox(t), "sleep", "1000"), "v.com/x=a")
	c.Envs = []*criapi.KeyValue{{Key: "TOKEN", Value: []byte(secret)}}
	id := a.launch(pod, c, p)
	if names := holding(t, a.dir+"/state"); names != nil {
		t.Errorf("what is to survive a reboot has the environment in %v", names)
	}
	if names := holding(t, a.dir+"/run"); len(names) != 2 {
		t.Errorf("the environment is in %v of the run directory, want the bundle and the secrets", names)
	}
	a.stop()
	a.run()
	if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		text, err := os.ReadFile(out + "/" + when)
		if want := "\"TOKEN=" + secret + "\"\n"; err != nil || string(text) != want {
			t.Errorf("the hook %s sees %q, %v; want %q", when, text, err, want)
		}
		cwd, err := os.ReadFile(out + "/" + when + ".cwd")
		if err != nil || !strings.HasPrefix(string(cwd), a.dir+"/run/instances/") {
			t.Errorf("the hook %s works in %q, %v", when, cwd, err)
		}
	}
	if names := holding(t, a.dir+"/run"); names != nil {
		t.Errorf("when the container is gone its environment is still in %v", names)
	}
}

func TestADelegatedRuntimesBundleIsOnNoDisk(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", busybox(t), "sleep", "1000")
	c.Envs = []*criapi.KeyValue{{Key: "TOKEN", Value: []byte(secret)}}
	id := a.launch(pod, c, p)
	if names := holding(t, a.dir+"/state"); names != nil {
		t.Errorf("what is to survive a reboot has the environment in %v", names)
	}
	holding(t, a.dir+"/run")
	if _, err := a.RemoveContainer(within(t), &criapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if names := holding(t, a.dir+"/run"); names != nil {
		t.Errorf("when the container is gone its environment is still in %v", names)
	}
}
