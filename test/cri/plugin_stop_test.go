package cri_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAPodStopsWhateverItsPluginDoes(t *testing.T) {
	for name, spoil := range map[string]func(a *agent){
		"missing": func(a *agent) {
			if err := os.Remove(filepath.Join(a.plugins, "plain")); err != nil {
				a.t.Fatal(err)
			}
		},
		"failing": func(a *agent) {
			a.plugin(`echo '{"cniVersion":"1.1.0","code":11,"msg":"try again later"}'; exit 1`)
		},
		"hanging": func(a *agent) { a.plugin("while ! [ -e " + a.dir + "/mended ]; do sleep 0.05; done\n" + plainPlugin) },
	} {
		t.Run(name, func(t *testing.T) {
			a := withCNI(t)
			a.plugin(plainPlugin)
			a.configureCNI(plainCNI)
			p := podConfig(a, "p")
			pod := a.pod(p)
			id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "7601"), p)
			spoil(a)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := a.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: pod})
			cancel()
			if err == nil {
				t.Error("StopPodSandbox succeeded, and the network is still there")
			}
			if s := a.status(id); s.State != criapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
				t.Errorf("container = %s, %d; want it killed all the same", s.State, s.ExitCode)
			}
			got, err := a.PodSandboxStatus(within(t), &criapi.PodSandboxStatusRequest{PodSandboxId: pod})
			if err != nil || got.Status.State != criapi.PodSandboxState_SANDBOX_NOTREADY {
				t.Errorf("pod = %v, %v; want it not ready", got, err)
			}
			if err := os.WriteFile(a.dir+"/mended", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			a.plugin(plainPlugin)
			for range 2 {
				if _, err := a.StopPodSandbox(within(t), &criapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
					t.Errorf("StopPodSandbox with the plugin mended: %v", err)
				}
			}
			if s := a.status(id); s.ExitCode != 137 {
				t.Errorf("exit code = %d, want 137", s.ExitCode)
			}
		})
	}
}
