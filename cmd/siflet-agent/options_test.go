package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func loadOptions(t *testing.T, text string, args ...string) (agentOptions, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := defaultAgentOptions()
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	o.flags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, o.load(file, flags)
}

func TestFlagsWinOverTheFileAndTheFileOverDefaults(t *testing.T) {
	o, err := loadOptions(t, "run_dir = \"/file/run\"\nbridge = \"file0\"\nsubnet = [\"10.1.0.0/16\"]\ncni_bin_dir = [\"/a\", \"/b\"]\n",
		"--bridge", "flag0", "--subnet", "10.2.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if o.Bridge != "flag0" || len(o.Subnets) != 1 || o.Subnets[0] != "10.2.0.0/16" {
		t.Errorf("bridge %q, subnets %q; want those of the flags", o.Bridge, o.Subnets)
	}
	if o.RunDir != "/file/run" || len(o.CNIBinDirs) != 2 || o.Listen != "unix:///file/run/siflet.sock" {
		t.Errorf("run directory %q, plugins %q, socket %q; want those of the file", o.RunDir, o.CNIBinDirs, o.Listen)
	}
	if o.StateDir != "/var/lib/siflet" || o.LogLevel != "info" {
		t.Errorf("state directory %q, log level %q; want the defaults", o.StateDir, o.LogLevel)
	}
}

func TestImageSettingsComeFromFlagsAndFile(t *testing.T) {
	o, err := loadOptions(t, "registry_hosts = [\"/file\"]\nmax_parallel_layers = 3\npolicy = \"/file/policy\"\nauth_file = \"/file/auth\"\n",
		"--max-parallel-layers", "5", "--metrics-listen", "127.0.0.1:0", "--registry-hosts", "/a", "--registry-hosts", "/b")
	if err != nil {
		t.Fatal(err)
	}
	s := o.sources()
	if !slices.Equal(s.Hosts, []string{"/a", "/b"}) || s.Parallel != 5 || s.Policy != "/file/policy" || s.Auth != "/file/auth" || o.MetricsListen != "127.0.0.1:0" {
		t.Errorf("settings = %+v, metrics on %q", s, o.MetricsListen)
	}
	if !s.PolicyNamed {
		t.Error("a policy that the file names need not be there")
	}
	if o, err := loadOptions(t, "", "--policy", "/etc/siflet/policy.toml"); err != nil || !o.sources().PolicyNamed {
		t.Errorf("a policy that a flag names need not be there, %v", err)
	}
	o, err = loadOptions(t, "")
	if s := o.sources(); err != nil || !slices.Equal(s.Hosts, []string{"/etc/siflet/certs.d", "/etc/containerd/certs.d"}) ||
		s.Policy != "/etc/siflet/policy.toml" || s.PolicyNamed || o.MetricsListen != "" {
		t.Errorf("defaults = %+v, metrics on %q, %v", s, o.MetricsListen, err)
	}
}

func TestConfigurationErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"bridge = \"a\"\n\ncolour = 1\n":     "agent.toml:3: unknown key \"colour\"",
		"bridge = \"a\"\n[network]\nx = 1\n": "agent.toml:2: unknown key \"network\"",
		"bridge = \"a\"\nrun_dir = \n":       "agent.toml:2:",
		"bridge = 7\n":                       "bridge",
		"log_level = \"loud\"\n":             "loud",
		"subnet = [\"10.0.0.0/99\"]\n":       "10.0.0.0/99",
		"state_dir = \"\"\n":                 "--state-dir",
		"max_parallel_layers = -1\n":         "--max-parallel-layers",
		"metrics_listen = \"here\"\n":        "--metrics-listen",
		"policy = \"\"\n":                    "--policy",
	} {
		if _, err := loadOptions(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestVersionIsAlwaysSemantic(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-4-gabc-dirty": "1.2.3-4-gabc-dirty", "dev": "0.0.0-dev", "33294fd_x": "0.0.0-33294fd-x",
	} {
		if got := semanticVersion(version); got != want {
			t.Errorf("semanticVersion(%q) = %q, want %q", version, got, want)
		}
	}
}
