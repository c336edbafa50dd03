package pull_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// person runs siflet as somebody at a shell.
type person struct {
	t   *testing.T
	dir string
	env []string
}

// newPerson is somebody who has registries' settings in hosts, and more variables.
func newPerson(t *testing.T, hosts string, more ...string) *person {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "p") //nolint:usetesting // a socket's path has to be short
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return &person{t, dir, append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SIFLET_CONFIGDIR=" + dir + "/.siflet", "SIFLET_CGROUP_PARENT=/siflet-pull-test-" + filepath.Base(dir),
		"SIFLET_REGISTRY_HOSTS=" + hosts, "SIFLET_POLICY_FILE=" + writePolicy(t, dir, ""),
		"SIFLET_STATE_DIR=" + dir + "/node", "SIFLET_RUN_DIR=" + dir + "/noderun",
	}, more...)}
}

// command is siflet with a context that bounds it.
func (p *person) command(args ...string) (cmd *exec.Cmd, said *output) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	p.t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, filepath.Join(programs, "siflet"), args...)
	cmd.Env, cmd.Dir, said = p.env, p.dir, &output{}
	cmd.Stderr = said
	return cmd, said
}

func (p *person) siflet(args ...string) string {
	p.t.Helper()
	cmd, said := p.command(args...)
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("siflet %q: %v\n%s", args, err, said.String())
	}
	return string(out)
}
