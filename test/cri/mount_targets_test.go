package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

// Where a mount can't be is the client's mistake: it is told which mount, and why.
func TestMountsThatCannotBeWhereTheyAreAskedFor(t *testing.T) {
	a := start(t)
	pod, p := a.hostPod("p")
	image := siftest.Build(t, siftest.Options{Busybox: true, Bare: true, Files: map[string]string{
		"link": "-> /etc", "loop": "-> loop", "away": "-> ../../../proc", "self": "-> /proc/self", "etc/file": "x\n",
	}})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const field, nowhere, kinds = "mounts[0].container_path: ", "there is no such place, and it can't be made: ", "one of source and target is a directory"
	long := strings.Repeat("x", 256)
	for _, c := range []struct{ target, source, want string }{ // want is empty if it can be
		{"", dir, field + `"" is not a path`},
		{"/x\x00y", dir, field + `"/x\x00y" is not a path`},
		{"/", dir, field + `"/" is the root`},
		{"..", dir, field + `".." is the root`},
		{"/a/..", dir, field + `"/a/.." is the root`},
		{"relative", dir, ""},
		{"/a/../../b", file, ""},
		{"/link/x", dir, ""},
		{"/loop/x", dir, "mount /loop/x: " + nowhere},
		{"/away/x", file, "mount /away/x: " + nowhere},
		{"/self/x", dir, "mount /self/x: " + nowhere},
		{"/self/attr", dir, "mount /self/attr: not allowed inside /proc"},
		{"/etc/file", file, ""},
		{"/etc/file", dir, "mount /etc/file: " + kinds},
		{"/etc/file/x", file, "mount /etc/file/x: " + nowhere},
		{"/" + long, dir, "mount /" + long + ": " + nowhere},
		{"/proc", dir, "mount /proc: only a proc file system"},
		{"/proc/foo", dir, "mount /proc/foo: " + nowhere},
		{"/proc/foo", file, "mount /proc/foo: " + nowhere},
		{"/proc/self/attr", dir, "mount /proc/self/attr: not allowed inside /proc"},
		{"/proc/cpuinfo", file, ""},
		{"/sys", dir, ""},
		{"/sys", file, "mount /sys: " + kinds},
		{"/sys/foo", dir, "mount /sys/foo: " + nowhere},
		{"/sys/fs/cgroup/x", file, "mount /sys/fs/cgroup/x: " + nowhere},
		{"/dev", file, "mount /dev: " + kinds},
		{"/dev/foo", dir, ""},
		{"/dev/null", file, "device /dev/null: something else is in its place"},
		{"/dev/pts/x", file, "mount /dev/pts/x: " + nowhere},
	} {
		config := containerConfig("c", image, "true")
		config.Mounts = []*criapi.Mount{{ContainerPath: c.target, HostPath: c.source}}
		err := a.refusal(pod, config, p)
		if c.want == "" {
			wantCode(t, c.target, err, "OK")
			continue
		}
		wantRefusal(t, c.target, err, "InvalidArgument", c.want)
	}
}
