package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNothingIsLeftForTheAgentToFindOut(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	plain := filepath.Join(dir, "plain")
	profile := filepath.Join(dir, "profile")
	for name, text := range map[string]string{plain: "{}", profile: `{"defaultAction": "SCMP_ACT_NOPE"}`} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		`criu = "/none/criu"`:                                   "criu: /none/criu: no such file",
		`cni_conf_dir = "` + plain + `"`:                        "is not a directory",
		`cni_bin_dir = ["` + plain + `"]`:                       "is not a directory",
		`cdi_spec_dirs = ["` + plain + `"]`:                     "is not a directory",
		`nri_plugin_path = "` + plain + `"`:                     "is not a directory",
		`nri_plugin_config_path = "` + plain + `"`:              "is not a directory",
		`cni_bin_dir = []`:                                      "cni_bin_dir: the list is empty",
		`cdi_spec_dirs = []`:                                    "cdi_spec_dirs: the list is empty",
		`subnet = []`:                                           "subnet: the list is empty",
		`subnet = ["10.0.0.0/31"]`:                              "room for two hosts",
		`subnet = ["fd00::/127"]`:                               "room for two hosts",
		`subnet = ["::ffff:10.0.0.0/112"]`:                      "want a range",
		`subnet = ["10.0.0.0/16", "10.1.0.0/16"]`:               "2 IPv4 and 0 IPv6 ranges",
		`stream_address = "127.0.0.1:99999"`:                    `"99999" is no port number`,
		`stream_address = "127.0.0.1:http"`:                     `"http" is no port number`,
		`stream_address = ":0"`:                                 "no IP address",
		`stream_address = "node:0"`:                             `"node" is no IP address`,
		`metrics_listen = "127.0.0.1:abc"`:                      `"abc" is no port number`,
		`bridge = "br:0"`:                                       "without a slash, a colon or a blank",
		`bridge = "lo"`:                                         "which is no bridge",
		`state_dir = "/x"` + "\n" + `run_dir = "/y/../x"`:       "run_dir: want another directory",
		`listen = "unix:///` + strings.Repeat("a", 99) + `"`:    "listen: /aaa",
		`run_dir = "/` + strings.Repeat("a", 99) + `"`:          "99 is the most",
		"nri = false\nnri_required_plugins = [\"a\"]":           "nri_required_plugins: a can't connect with nri = false",
		"[handlers.a]\nseccomp = \"localhost/profile\"":         "the absolute path of a profile",
		"[handlers.a]\nseccomp = \"localhost/" + profile + "\"": `unknown seccomp action "SCMP_ACT_NOPE"`,
		"[handlers.a]\nruntime = \"crun\"":                      "want an absolute path",
		"[handlers.siflet]\nnetwork = \"none\"":                 "siflet's own handler",
	} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		wrong, _ := Check(file)
		if len(wrong) != 1 || !strings.Contains(wrong[0].Text, want) || !strings.HasPrefix(wrong[0].Where, file+":") {
			t.Errorf("%s: %q, want one problem with %q and its line", text, wrong, want)
		}
	}
}

func TestTheParentMustBeOfTheDriversForm(t *testing.T) {
	_, err := load(t, "cgroup_driver = \"systemd\"\ncgroup_parent = \"/siflet\"\n")
	if err == nil || !strings.Contains(err.Error(), "config.toml:2: cgroup_parent: \"/siflet\": with the driver systemd want a slice") {
		t.Errorf("error = %v, want that it must be a slice", err)
	}
	if _, err := load(t, "cgroup_driver = \"systemd\"\ncgroup_parent = \"a--b.slice\"\n"); err == nil {
		t.Error("a slice whose name has two dashes side by side is taken")
	}
	for _, text := range []string{"cgroup_driver = \"systemd\"\ncgroup_parent = \"a-b.slice\"\n", "cgroup_parent = \"/siflet\"\n"} {
		if _, err := load(t, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
