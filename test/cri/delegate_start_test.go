package cri_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

func TestACommandThatIsNotThereFailsTheDelegatedStart(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	for name, image := range map[string]string{"bare": busybox(t), "with-scripts": siftest.Build(t, siftest.Options{Busybox: true})} {
		c := containerConfig(name, image, "nothing-of-that-name")
		c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1000}, ReadonlyRootfs: true}
		id := a.create(pod, c, p)
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
		if err == nil || !strings.Contains(err.Error(), "nothing-of-that-name") {
			t.Errorf("%s: StartContainer = %v, want the name of the command", name, err)
		}
		s := a.status(id)
		if s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 128 || s.Reason != "StartError" || !strings.Contains(s.Message, "nothing-of-that-name") {
			t.Errorf("%s: status = %v, want a start that failed with the name of the command", name, s)
		}
	}
}

func TestAnImagesScriptsRunInADelegatedContainer(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	image := siftest.Build(t, siftest.Options{Busybox: true, Startscript: "echo begun; exec sleep 1000"})
	c := containerConfig("c", image)
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{Value: 1000}}
	id := a.launch(pod, c, p)
	eventually(t, "the log", func() bool { return strings.Contains(readLog(t, a.status(id)), "stdout F begun") })
	if got := a.execSync(id, "echo", "more"); got.ExitCode != 0 || string(got.Stdout) != "more\n" {
		t.Errorf("exec = %v", got)
	}
}

func TestWhatHooksOfADelegatedContainerSayIsTold(t *testing.T) {
	needCrun(t)
	dir := t.TempDir()
	a, _ := configured(t, "cdi_spec_dirs = [\""+dir+"\"]\n[handlers.other]\nruntime = \""+crun+"\"\n")
	hook := script(t, "hook", "echo no licence for this device >&2; exit 4")
	hooksSpec(t, dir, "{hookName: createRuntime, path: "+hook+"}")
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	id := a.create(pod, withCDI(containerConfig("c", busybox(t), "sleep", "1000"), "v.com/x=a"), p)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	if err == nil || !strings.Contains(err.Error(), "hooks said: no licence for this device") {
		t.Errorf("StartContainer = %v, want what the hook said", err)
	}
	if s := a.status(id); s.Reason != "StartError" || !strings.Contains(s.Message, "no licence") {
		t.Errorf("status = %v", s)
	}
}

func TestMappedMountsAreRefusedForADelegatedContainer(t *testing.T) {
	needCrun(t)
	a := delegating(t, crun)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", busybox(t), "sleep", "1000")
	ids := []*criapi.IDMapping{{HostId: 100000, ContainerId: 0, Length: 65536}}
	c.Mounts = []*criapi.Mount{{HostPath: t.TempDir(), ContainerPath: "/data", UidMappings: ids, GidMappings: ids}}
	_, err := a.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	wantRefusal(t, "mapped ids", err, "InvalidArgument", "mapped ids of the mount at /data: not with the handler's runtime "+crun)
}

func TestPodsWithoutANetworkCantAskForOne(t *testing.T) {
	a, _ := configured(t, quietHandler)
	for field, change := range map[string]func(*criapi.PodSandboxConfig){
		"port_mappings": func(c *criapi.PodSandboxConfig) {
			c.PortMappings = []*criapi.PortMapping{{ContainerPort: 80, HostPort: 8080}}
		},
		"ingress-bandwidth": func(c *criapi.PodSandboxConfig) { c.Annotations["kubernetes.io/ingress-bandwidth"] = "1M" },
		"egress-bandwidth":  func(c *criapi.PodSandboxConfig) { c.Annotations["kubernetes.io/egress-bandwidth"] = "1M" },
	} {
		p := podConfig(a, "p")
		change(p)
		_, err := a.RunPodSandbox(within(t), &criapi.RunPodSandboxRequest{Config: p, RuntimeHandler: "quiet"})
		wantRefusal(t, field, err, "InvalidArgument", field)
	}
	p := podConfig(a, "p")
	p.PortMappings = []*criapi.PortMapping{{ContainerPort: 80}} // told, not asked for
	a.handledPod("p", "quiet", p)
}

func TestAMissingRuntimeIsToldBeforeItIsNeeded(t *testing.T) {
	place := t.TempDir() + "/runtime"
	text := "[handlers.other]\nruntime = \"" + place + "\"\n"
	writeFile(t, place, "#!/bin/sh\n")
	if err := os.Chmod(place, 0o755); err != nil {
		t.Fatal(err)
	}
	a, reload := configured(t, text)
	said := func() string {
		s, err := a.Status(within(t), &criapi.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Status.Conditions {
			if c.Type == "HandlersReady" && !c.Status {
				return c.Message
			}
		}
		return ""
	}
	if got := said(); got != "" || strings.Contains(a.log.String(), "can't be created") {
		t.Errorf("a runtime that is there is told of: %q", got)
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	want := `handler "other": the handler's runtime ` + place + " is not there"
	if got := said(); !strings.Contains(got, want) {
		t.Errorf("condition = %q, want %q", got, want)
	}
	reload(text+"network = \"none\"\n", "containers of a handler can't be created")
	a.stop()
	a.run()
	a.logs("containers of a handler can't be created")
}

func TestARuntimeThatHangsIsKilledWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	hangs := script(t, "hangs", "sleep 1000 & echo $! >> "+pids+"; wait")
	a, _ := configured(t, "[handlers.other]\nruntime = \""+hangs+"\"\nruntime_timeout = \"1s\"\n")
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	id := a.create(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	if err == nil || !strings.Contains(err.Error(), "not done after 1s") || strings.Contains(err.Error(), "cgroup") {
		t.Errorf("StartContainer = %v, want the time and nothing that is left", err)
	}
	text, err := os.ReadFile(pids)
	children := strings.Fields(string(text))
	if err != nil || len(children) < 2 {
		t.Fatalf("children of create and delete = %q, %v", children, err)
	}
	for _, pid := range children {
		eventually(t, "the end of process "+pid, func() bool {
			command, _ := os.ReadFile("/proc/" + pid + "/cmdline") // a zombie has none
			return len(command) == 0
		})
	}
}

// killedInStart has the agent killed while it starts a container with a runtime that does
// what when it is to start it for the first time, and run anew. Each run of the program
// adds a line to a file.
func killedInStart(t *testing.T, command, what string) (a *agent, id string, starts func() int) {
	t.Helper()
	needCrun(t)
	dir := t.TempDir()
	reached, ran := filepath.Join(dir, "reached"), filepath.Join(dir, "ran")
	runtime := script(t, "runtime", `crun=`+crun+` dir=`+dir+`
case " $* " in *" `+command+` "*) if [ ! -e `+reached+` ]; then `+what+`; fi;; esac
exec $crun "$@"`)
	a = delegating(t, runtime)
	p := podConfig(a, "p")
	pod := a.handledPod("p", "other", p)
	c := containerConfig("c", busybox(t), "sh", "-c", "echo run >> /data/ran; exec sleep 1000")
	c.Mounts = []*criapi.Mount{{HostPath: dir, ContainerPath: "/data"}}
	id = a.create(pod, c, p)
	done := make(chan error, 1)
	go func() {
		_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
		done <- err
	}()
	eventually(t, "the runtime's "+command, func() bool { _, err := os.Stat(reached); return err == nil })
	a.end(syscall.SIGKILL)
	if err := <-done; err == nil {
		t.Error("StartContainer = nil of an agent that was killed")
	}
	a.run()
	writeFile(t, filepath.Join(dir, "go"), "")
	return a, id, func() int {
		text, err := os.ReadFile(ran)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(text), "run")
	}
}

const untilGo = `while [ ! -e $dir/go ]; do sleep 0.1; done`

func TestADelegatedStartThatTheAgentWasKilledInCanBeRepeated(t *testing.T) {
	a, id, starts := killedInStart(t, "create", `touch $dir/reached; while kill -0 $PPID; do sleep 0.1; done; exit 1`)
	if _, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program's start", func() bool { return starts() == 1 })
	if got := a.execSync(id, "echo", "fine"); string(got.Stdout) != "fine\n" {
		t.Errorf("exec = %v", got)
	}
}

// Whoever repeats a start finds that the program runs, and it has begun once.
func TestADelegatedProgramIsStartedOnceThoughTheAgentIsKilled(t *testing.T) {
	for name, what := range map[string]string{
		"before it begins": `touch $dir/reached; ` + untilGo,
		"when it has":      `$crun "$@" || exit; touch $dir/reached; ` + untilGo + `; exit 0`,
	} {
		t.Run(name, func(t *testing.T) {
			a, id, starts := killedInStart(t, "start", what)
			_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
			wantRefusal(t, "another start", err, "FailedPrecondition", "is running, not created")
			eventually(t, "the program's start", func() bool { return starts() > 0 })
			if got := a.execSync(id, "echo", "fine"); string(got.Stdout) != "fine\n" {
				t.Errorf("exec = %v", got)
			}
			if n := starts(); n != 1 {
				t.Errorf("the program has begun %d times", n)
			}
		})
	}
}

// A start that fails when the program may have run is told as one, by whatever agent runs.
func TestADelegatedStartThatFailsWithoutAnAgentIsNotRepeated(t *testing.T) {
	a, id, starts := killedInStart(t, "start", `$crun "$@" || exit; touch $dir/reached; `+untilGo+`; exit 7`)
	_, err := a.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: id})
	wantRefusal(t, "another start", err, "FailedPrecondition", "is exited, not created")
	if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 128 || !strings.Contains(s.Message, "status 7") {
		t.Errorf("status = %v, want a start that failed", s)
	}
	if n := starts(); n > 1 {
		t.Errorf("the program has begun %d times", n)
	}
}
