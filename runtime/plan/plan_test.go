package plan

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

var update = flag.Bool("update", false, "write the golden files")

func TestGolden(t *testing.T) {
	uid := uint32(1000)
	image := Image{Entrypoint: []string{"/bin/serve"}, Cmd: []string{"--all"}, Env: []string{"PATH=/opt/bin:/bin", "LANG=C"}, WorkingDir: "/srv", User: "www-data"}
	etc := Etc{Hosts: "/run/i/hosts", Hostname: "/run/i/hostname", Resolv: "/run/i/resolv.conf"}
	for name, in := range map[string]Input{
		"plain": {Image: image, Process: Process{Hostname: "web"}, Etc: etc, CgroupPath: "/siflet/x/c"},
		"privileged": {
			Image: image, Process: Process{Args: []string{"-x"}, Terminal: true}, Etc: etc,
			Security: Security{Privileged: true},
			Node:     Node{Devices: []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}}},
		},
		"mounts": {
			Image: image, Etc: etc,
			Process:  Process{Command: []string{"sh"}, Args: []string{"-c", "true"}, Env: []string{"LANG=de", "A=b"}, Cwd: "/tmp"},
			Security: Security{User: program.User{UID: &uid}, ReadonlyRoot: true, AddCaps: []string{"sys_time"}, DropCaps: []string{"ALL"}, NoNewPrivs: true},
			Mounts: []Mount{
				{Source: "/host/deep", Target: "/data/a/b"},
				{Source: "/host/data", Target: "/data", Readonly: true, RecursiveRO: true},
				{Source: "/host/hosts", Target: "/etc/hosts"},
				{Type: "tmpfs", Target: "/dev/shm", Data: "size=1m,mode=1777", NoExec: true},
				{Source: "/host/shared", Target: "/shared", Propagation: "shared"},
				{Image: "tools.sif", Source: "bin", Target: "/tools"},
			},
		},
		"volumes": {
			Image: Image{Cmd: []string{"serve"}, Volumes: []string{
				"/srv/data/cache", "/srv/data/", "/mnt/db", "/proc/x", "/", "log", "/log", "/srv/data-more",
			}},
			Etc: etc, Security: Security{ReadonlyRoot: true}, Volumes: "/state/c/volume-",
			Mounts: []Mount{{Source: "/host/mnt", Target: "/mnt"}, {Source: "/host/x", Target: "/log/x"}},
		},
		"labelled": {
			Image: Image{Cmd: []string{"serve"}}, ProcessLabel: "system_u:system_r:container_t:s0:c1,c2",
			MountLabel: "system_u:object_r:container_file_t:s0:c1,c2",
		},
		"volumes in the root": {Image: Image{Cmd: []string{"serve"}, Volumes: []string{"/data"}}, Etc: etc},
		"by hand": {
			Image: Image{Native: true, Volumes: []string{"/data"}}, NoDefaultMounts: true, Etc: etc,
			Security: Security{AllCaps: true, HostDev: true, User: program.User{Keep: true}},
			Mounts:   []Mount{{Source: "/dev", Target: "/dev"}, {Source: "/none", Target: "/none", Optional: true}},
		},
	} {
		spec, err := Container(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := Program(spec, Extra{
			Root: program.Root{Extents: []program.Extent{{Path: "/i.sif", Offset: 4096, Size: 100, FS: "squashfs"}}},
			User: User(in.Image, in.Security.User), PID: program.PIDContainer, AllCaps: in.Security.AllCaps,
			Images: map[string][]program.Extent{"tools.sif": {{Path: "/tools.sif", Size: 9, FS: "squashfs"}}},
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, map[string]any{"spec": spec, "program": p})
	}
}

func golden(t *testing.T, name string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil { //nolint:gosec // a test's data
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from %s (-want +got):\n%s", name, path, diff)
	}
}

func TestArgsFollowTheKubeletsRule(t *testing.T) {
	image := Image{Entrypoint: []string{"ep"}, Cmd: []string{"cmd"}}
	for _, c := range []struct {
		command, args, want []string
	}{
		{nil, nil, []string{"ep", "cmd"}},
		{nil, []string{"a"}, []string{"ep", "a"}},
		{[]string{"c"}, nil, []string{"c"}},
		{[]string{"c"}, []string{"a"}, []string{"c", "a"}},
	} {
		got, err := Args(image, Process{Command: c.command, Args: c.args})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Args(%q, %q) = %q, %v, want %q", c.command, c.args, got, err, c.want)
		}
	}
	if _, err := Args(Image{}, Process{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Args() of nothing = %v, want ErrInvalid", err)
	}
}

func TestEnvOfTheCallerWinsOverTheImages(t *testing.T) {
	got := Env(Image{Env: []string{"PATH=/i", "A=i", "BAD"}}, Process{Env: []string{"A=c", "B=c"}, Hostname: "h", Terminal: true})
	want := []string{"PATH=/i", "HOSTNAME=h", "TERM=xterm", "A=c", "B=c"}
	if !slices.Equal(got, want) {
		t.Errorf("Env() = %q, want %q", got, want)
	}
}

func TestCapabilitiesTakeAllFirst(t *testing.T) {
	for _, c := range []struct {
		in   Security
		want []string
	}{
		{Security{DropCaps: []string{"ALL"}, AddCaps: []string{"chown"}}, []string{"CAP_CHOWN"}},
		{Security{DropCaps: []string{"ALL", "CAP_KILL"}, AddCaps: []string{"KILL", "CAP_NET_ADMIN"}}, []string{"CAP_NET_ADMIN"}},
	} {
		got, err := Capabilities(c.in)
		if err != nil || !slices.Equal(got.Bounding, c.want) {
			t.Errorf("Capabilities(%+v) = %q, %v, want %q", c.in, got.Bounding, err, c.want)
		}
	}
	all, err := Capabilities(Security{AddCaps: []string{"all"}, DropCaps: []string{"SYS_ADMIN"}})
	if err != nil || len(all.Bounding) != len(allCaps())-1 {
		t.Errorf("ALL without one = %d, %v", len(all.Bounding), err)
	}
	if _, err := Capabilities(Security{AddCaps: []string{"FLY"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Capabilities(FLY) = %v, want ErrInvalid", err)
	}
}

func TestMountRefusesWhatCannotBe(t *testing.T) {
	for name, m := range map[string]Mount{
		"relative target":        {Source: "/a", Target: "b"},
		"root as target":         {Source: "/a", Target: "/x/.."},
		"relative source":        {Source: "a", Target: "/b"},
		"unknown propagation":    {Source: "/a", Target: "/b", Propagation: "odd"},
		"recursive and writable": {Source: "/a", Target: "/b", RecursiveRO: true},
		"recursive and shared":   {Source: "/a", Target: "/b", RecursiveRO: true, Readonly: true, Propagation: "shared"},
	} {
		if _, err := mount(m); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: mount() = %v, want ErrInvalid", name, err)
		}
	}
}

func TestVolumesThatCannotBeAreRefused(t *testing.T) {
	many := make([]string, maxVolumes+1)
	for i := range many {
		many[i] = "/v" + strconv.Itoa(i)
	}
	for name, volumes := range map[string][]string{"NUL": {"/a\x00b"}, "too many": many} {
		_, err := Container(Input{Image: Image{Cmd: []string{"x"}, Volumes: volumes}})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Container() = %v, want %v", name, err, ErrInvalid)
		}
	}
}

// A launch stage that does not know of what is asked for must not leave it out: an
// older one runs what an instance that began before an upgrade is told to.
func TestProgramNamesTheVersionThatItNeeds(t *testing.T) {
	hooks := &specs.Hooks{StartContainer: []specs.Hook{{Path: "/hook"}}}
	for name, c := range map[string]struct {
		hooks   *specs.Hooks
		restore *program.Restore
		want    int
	}{
		"plain":             {want: program.VersionPlain},
		"hooks of others":   {hooks: &specs.Hooks{Poststop: hooks.StartContainer}, want: program.VersionPlain},
		"hooks":             {hooks: hooks, want: program.VersionHooks},
		"restore":           {restore: &program.Restore{}, want: program.VersionRestore},
		"restore and hooks": {hooks: hooks, restore: &program.Restore{}, want: program.VersionRestore},
	} {
		spec, err := Container(Input{Image: Image{Cmd: []string{"serve"}}})
		if err != nil {
			t.Fatal(err)
		}
		spec.Hooks = c.hooks
		p, err := Program(spec, Extra{Restore: c.restore})
		if err != nil || p.Version != c.want {
			t.Errorf("%s: version %d, %v, want %d", name, p.Version, err, c.want)
		}
	}
}
