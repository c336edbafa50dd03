package node

import (
	"os"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/test/siftest"
)

func TestPodOfANativeImageRunsItsOwnWay(t *testing.T) {
	if !isolated(t) {
		return
	}
	n := newTestNode(t)
	e := n.open(t)
	sif := siftest.Build(t, siftest.Options{
		Busybox: true, Environment: "export FROM=image", Runscript: `echo "run $FROM $ASKED $HOME $HOSTNAME [$*]"`,
	})
	i, err := e.RunInstance(t.Context(), pod("web", true))
	must(t, err)
	for name, c := range map[string]struct {
		command, args []string
		want          string
	}{
		"nothing":   {nil, nil, "run image $x /root web []"},
		"arguments": {nil, []string{"a", "b"}, "run image $x /root web [a b]"},
		"command":   {[]string{"sh", "-c", `echo "$FROM $ASKED $HOME"`}, nil, "image $x /root"},
	} {
		s := n.container(name, c.command...)
		s.Image, s.Args, s.Env = sif, c.args, []string{"ASKED=$x"}
		made, err := e.CreateContainer(t.Context(), i.ID, s)
		must(t, err)
		must(t, e.StartContainer(t.Context(), made.ID))
		ended, err := e.Wait(t.Context(), made.ID)
		must(t, err)
		log, err := os.ReadFile(ended.LogPath)
		must(t, err)
		if want := " stdout F " + c.want + "\n"; ended.ExitCode != 0 || !strings.HasSuffix(string(log), want) {
			t.Errorf("%s: exit code %d, log %q, want %q", name, ended.ExitCode, log, want)
		}
	}
	s := n.container("long", "sleep", "1000")
	s.Image, s.Env = sif, []string{"ASKED=$x"}
	made, err := e.CreateContainer(t.Context(), i.ID, s)
	must(t, err)
	must(t, e.StartContainer(t.Context(), made.ID))
	out, errs, exit, err := e.ExecSync(t.Context(), made.ID, runtime.ExecSpec{Args: []string{"sh", "-c", `echo "$FROM $ASKED $MORE"`}, Env: []string{"MORE=yes"}}, 1000)
	if err != nil || exit.Code != 0 || string(out) != "image $x yes\n" {
		t.Errorf("ExecSync() = %q, %q, %+v, %v", out, errs, exit, err)
	}
}
