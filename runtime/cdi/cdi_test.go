package cdi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/cdi"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnnotationsNameDevicesInTheOrderOfTheirKeys(t *testing.T) {
	got, err := cdi.FromAnnotations(map[string]string{"cdi.k8s.io/z": "v.com/a=1", "cdi.k8s.io/a": "v.com/a=2,v.com/a=3", "x": "y"})
	if diff := cmp.Diff([]string{"v.com/a=2", "v.com/a=3", "v.com/a=1"}, got); err != nil || diff != "" {
		t.Errorf("FromAnnotations: %v (-want +got):\n%s", err, diff)
	}
	if _, err := cdi.FromAnnotations(map[string]string{"cdi.k8s.io/z": "v.com/a=1, v.com/a=2"}); err == nil || !strings.Contains(err.Error(), `" v.com/a=2"`) {
		t.Errorf("a name with a space: %v", err)
	}
}

func TestLaterDirectoriesWin(t *testing.T) {
	first, last := t.TempDir(), t.TempDir()
	const spec = `{"cdiVersion":"0.6.0","kind":"v.com/x","containerEdits":{"env":["ALL=1"]},"devices":[{"name":"a","containerEdits":{"env":["V=NUMBER"]}}]}`
	write(t, first, "x.json", strings.ReplaceAll(spec, "NUMBER", "first"))
	write(t, last, "x.json", strings.ReplaceAll(spec, "NUMBER", "last"))
	got, err := cdi.Find([]string{first, last}, []string{"v.com/x=a"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ALL=1", "V=last"}, got.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	write(t, last, "y.json", strings.ReplaceAll(spec, "NUMBER", "other"))
	_, err = cdi.Find([]string{first, last}, []string{"v.com/x=a"})
	if err == nil || strings.Count(err.Error(), "conflicting device") != 1 || !strings.Contains(err.Error(), last+"/y.json") {
		t.Errorf("a device that two files describe: %v, want an error that names them, once", err)
	}
}

func TestApplyKeepsAContainerThatMayUseEveryDeviceSo(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "x.json", `{"cdiVersion":"0.6.0","kind":"v.com/x","devices":[{"name":"a","containerEdits":{
		"deviceNodes":[{"path":"/dev/x","type":"c","major":1,"minor":3}],
		"mounts":[{"hostPath":"/tmp","containerPath":"/t","options":["ro","bind"]},{"hostPath":"t","containerPath":"/u","type":"tmpfs"}]}}]}`)
	edits, err := cdi.Find([]string{dir}, []string{"v.com/x=a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, rules := range map[string][]specs.LinuxDeviceCgroup{"every": nil, "some": {{Allow: false, Access: "rwm"}}} {
		spec := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{Devices: rules}}}
		for range 2 { // applying changes nothing of the edits
			if err := cdi.Apply(edits, spec); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(spec.Linux.Resources.Devices) == 0; got != (rules == nil) {
			t.Errorf("%s: rules %v", name, spec.Linux.Resources.Devices)
		}
		if len(spec.Linux.Devices) != 1 || spec.Mounts[0].Type != "bind" || spec.Mounts[1].Type != "tmpfs" || len(spec.Mounts) != 2 {
			t.Errorf("%s: devices %v, mounts %v", name, spec.Linux.Devices, spec.Mounts)
		}
	}
}

func TestWhatNoContainerCanHaveIsRefused(t *testing.T) {
	for edits, want := range map[string]string{
		`"mounts":[{"hostPath":"here","containerPath":"/t","options":["bind"]}]`:              `mount /t: hostPath "here" is not absolute`,
		`"mounts":[{"hostPath":"here","containerPath":"/t"}]`:                                 `mount /t: hostPath "here" is not absolute`,
		`"mounts":[{"hostPath":"shm","containerPath":"/t","type":"x-siflet.shm"}]`:            `mount /t: unknown type "x-siflet.shm"`,
		`"mounts":[{"hostPath":"/x","containerPath":"/t","options":["bind","x-siflet.a=1"]}]`: `mount /t: unknown option "x-siflet.a=1"`,
		`"hooks":[{"hookName":"prestart","path":"bin/true"}]`:                                 `prestart hook: the path "bin/true" is not absolute`,
		`"hooks":[{"hookName":"poststop","path":"/bin/true","timeout":-1}]`:                   `poststop hook /bin/true: a timeout of -1 seconds`,
		`"intelRdt":{"closID":"c"}`:                                                           `Intel RDT class "c"`,
	} {
		dir := t.TempDir()
		write(t, dir, "x.json", `{"cdiVersion":"0.7.0","kind":"v.com/x","devices":[{"name":"a","containerEdits":{`+edits+`}}]}`)
		if got, err := cdi.Find([]string{dir}, []string{"v.com/x=a"}); err == nil || !strings.Contains(err.Error(), "device v.com/x=a: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want an error with %q", edits, got, err, want)
		}
	}
}
