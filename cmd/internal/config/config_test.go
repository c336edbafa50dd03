package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load is the configuration of a file with that text, and flags.
func load(t *testing.T, text string, args ...string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	set := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	flags := Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(file, flags)
}

func TestFlagsWinOverTheFileAndTheFileOverDefaults(t *testing.T) {
	c, err := load(t, "run_dir = \"/file/run\"\nbridge = \"file0\"\nsubnet = [\"10.1.0.0/16\"]\ncni_bin_dir = [\"/a\", \"/b\"]\nmax_parallel_layers = 3\n",
		"--bridge", "flag0", "--subnet", "10.2.0.0/16", "--max-parallel-layers", "5")
	if err != nil {
		t.Fatal(err)
	}
	if c.Bridge != "flag0" || len(c.Subnets) != 1 || c.Subnets[0] != "10.2.0.0/16" || c.ParallelLayers != 5 {
		t.Errorf("bridge %q, subnets %q, layers %d; want those of the flags", c.Bridge, c.Subnets, c.ParallelLayers)
	}
	if c.RunDir != "/file/run" || len(c.CNIBinDirs) != 2 || c.Listen != "unix:///file/run/siflet.sock" {
		t.Errorf("run directory %q, plugins %q, socket %q; want those of the file", c.RunDir, c.CNIBinDirs, c.Listen)
	}
	if c.StateDir != "/var/lib/siflet" || c.LogLevel != "info" || c.PolicyNamed() {
		t.Errorf("state directory %q, log level %q, policy %q; want the defaults", c.StateDir, c.LogLevel, c.Policy)
	}
}

func TestTheDefaultFileSaysTheDefaults(t *testing.T) {
	got, _, problems := parse("config.toml", DefaultFile())
	if problems != nil {
		t.Error(problems)
	}
	if diff := cmp.Diff(Defaults(), got); diff != "" {
		t.Errorf("defaults and their file differ (-want +got):\n%s", diff)
	}
}

func TestEveryExampleIsGood(t *testing.T) {
	text := regexp.MustCompile(`(?m)^# ([a-z_]+ = |\[handlers)`).ReplaceAllString(DefaultFile(), "$1")
	text = strings.ReplaceAll(text, "[handlers.NAME]", "[handlers.name]")
	got, _, problems := parse("config.toml", text)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, s := range settings() {
		if s.unset != "" && s.write(got) != s.example {
			t.Errorf("%s = %s, want its example %s", s.name, s.write(got), s.example)
		}
	}
	want := DefaultHandler()
	want.Runtime = "/usr/bin/crun"
	if h, ok := got.Handlers["name"]; !ok || !cmp.Equal(h, want) {
		t.Errorf("handler = %+v, want %+v", h, want)
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	want := Defaults()
	want.Listen, want.AuthFile, want.Policy, want.MetricsListen = "unix:///x", "/a \"b\\", "/p", "127.0.0.1:1"
	want.RegistryHosts, want.ParallelLayers = []string{}, 3
	h := DefaultHandler()
	h.Seccomp, h.PrivilegedWithoutHostDevices = "localhost//x.json", true
	want.Handlers = map[string]Handler{"one": h, "two": DefaultHandler()}
	got, _, problems := parse("config.toml", Write(want))
	if problems != nil {
		t.Error(problems)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

func TestAllProblemsAreToldWithTheirLines(t *testing.T) {
	_, err := load(t, `log_level = "loud"
bridge = 7 # no text
subnet = [
  "10.0.0.0/99", # not ]
  """a
b = [""",
]
colour = "red"
logformat = "text"
max_parallel_layers = -1
metrics_listen = "here"
policy = ""
state_dir = ""
cni_bin_dir = ["/a", 7]

[handlers.x]
secomp = "unconfined"
seccomp = "none"
"capabilities" = ["CAP_FLY"]
[handlers."Big"]
[networks]
a = 1
`, "--log-format", "html")
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	got := strings.Split(regexp.MustCompile(`(?m)^/\S*/config`).ReplaceAllString(err.Error(), "config"), "\n")
	for i, want := range []string{
		`config.toml:1: log_level: "loud": want debug, info, warn or error`,
		"config.toml:2: bridge: 7; want a text",
		`config.toml:3: subnet: "10.0.0.0/99": want a range`,
		`config.toml:3: subnet: "a\nb = [": want a range`,
		`config.toml:8: unknown key "colour"`,
		`config.toml:9: unknown key "logformat"; did you mean "log_format"?`,
		"config.toml:10: max_parallel_layers: -1 layers; want 0 to 1000",
		"config.toml:11: metrics_listen: \"here\": want an address",
		"config.toml:12: policy: \"\": want a file; without one, leave the setting out",
		"config.toml:13: state_dir: \"\": want an absolute path, such as /etc/siflet",
		"config.toml:14: cni_bin_dir: 7; want nothing but texts",
		`config.toml:17: unknown key "handlers.x.secomp"; did you mean "seccomp"?`,
		`config.toml:18: handlers.x.seccomp: "none": want runtime/default`,
		`config.toml:19: handlers.x.capabilities: "CAP_FLY": want`,
		"config.toml:20: handlers.Big: a RuntimeClass can't",
		`config.toml:21: unknown key "networks"; the only tables are`,
		`--log-format: "html": want text or json`,
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("problem %d: want %q; there are\n%s", i, want, strings.Join(got, "\n"))
			break
		}
	}
}

func TestBrokenTOMLIsNamedWithItsLine(t *testing.T) {
	for _, text := range []string{"bridge = \"a\"\nrun_dir = \n", "bridge = \"a\"\nbridge = \"b\"\n", "nri = true\r\nbridge = \"a\r\n"} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), "config.toml:2: ") {
			t.Errorf("%q: %v, want an error in line 2", text, err)
		}
	}
}

func TestAFormerFileIsNotPassedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := formerFile(path); err != nil {
		t.Errorf("without any file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.toml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := formerFile(path); err == nil || !strings.Contains(err.Error(), "mv "+dir+"/agent.toml "+path) {
		t.Errorf("error = %v, want how to rename it", err)
	}
}

func TestChangesSayWhatNeedsARestart(t *testing.T) {
	old := Defaults()
	old.Handlers = map[string]Handler{"gone": DefaultHandler(), "kept": DefaultHandler()}
	now := Defaults()
	now.LogLevel, now.Bridge = "debug", "other0"
	h := DefaultHandler()
	h.Writable = "tmpfs"
	now.Handlers = map[string]Handler{"kept": h}
	var names []string
	for _, c := range Changes(old, now) {
		if c.Reload {
			c.Name += "*"
		}
		names = append(names, c.Name)
	}
	if want := []string{"log_level*", "bridge", "handlers.gone*", "handlers.kept.writable*"}; !slices.Equal(names, want) {
		t.Errorf("changes = %q, want %q", names, want)
	}
	if k := Keep(old, now); k.LogLevel != "debug" || k.Bridge != old.Bridge || len(k.Handlers) != 1 {
		t.Errorf("kept = %+v, want the new level and handlers, and the old bridge", k)
	}
}

func TestWhatSettingsPointToIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10.conflist"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.toml")
	text := strings.ReplaceAll(`state_dir = "DIR/plain/state"
auth_file = "DIR/plain"
policy = "DIR/none"
registry_hosts = ["DIR/none", "DIR/plain", "/etc/siflet/certs.d"]
cni_conf_dir = "DIR"
bridge = "other0"
metrics_listen = "203.0.113.7:80"
stream_address = "127.0.0.2:0"
[handlers.a]
seccomp = "localhost/DIR/none"
`, "DIR", dir)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong, idle := Check(file)
	said := func(list Problems, want ...string) {
		t.Helper()
		if len(list) != len(want) {
			t.Errorf("there are %d problems, want %d:\n%v", len(list), len(want), list)
			return
		}
		for i := range want {
			if got := strings.ReplaceAll(list[i].String(), dir+"/", ""); !strings.HasPrefix(got, "config.toml:"+want[i]) {
				t.Errorf("problem %q, want %q", got, want[i])
			}
		}
	}
	said(wrong, "1: state_dir: plain/state: stat plain/state: not a directory", "7: metrics_listen: 203.0.113.7:80: this machine has no address",
		"4: registry_hosts: plain: is not a directory", "2: auth_file: plain: is not JSON", "3: policy: none: ", "10: handlers.a.seccomp: localhost/none: ")
	said(idle, "4: registry_hosts: none: there is no such directory", "6: bridge and subnet: CNI configuration is in use")
}
