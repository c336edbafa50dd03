package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/selinux"
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
		`criu = "/none/criu"`:                                           "criu: /none/criu: no such file",
		`cni_conf_dir = "` + plain + `"`:                                "is not a directory",
		`cni_bin_dir = ["` + plain + `"]`:                               "is not a directory",
		`cdi_spec_dirs = ["` + plain + `"]`:                             "is not a directory",
		`nri_plugin_path = "` + plain + `"`:                             "is not a directory",
		`nri_plugin_config_path = "` + plain + `"`:                      "is not a directory",
		`cni_bin_dir = []`:                                              "cni_bin_dir: the list is empty",
		`cdi_spec_dirs = []`:                                            "cdi_spec_dirs: the list is empty",
		`subnet = []`:                                                   "subnet: the list is empty",
		`subnet = ["10.0.0.0/31"]`:                                      "room for two hosts",
		`subnet = ["fd00::/127"]`:                                       "room for two hosts",
		`subnet = ["::ffff:10.0.0.0/112"]`:                              "want a range",
		`subnet = ["10.0.0.0/16", "10.1.0.0/16"]`:                       "2 IPv4 and 0 IPv6 ranges",
		`stream_address = "127.0.0.1:99999"`:                            `"99999" is no port number`,
		`stream_address = "127.0.0.1:http"`:                             `"http" is no port number`,
		`stream_address = ":0"`:                                         "no IP address",
		`stream_address = "node:0"`:                                     `"node" is no IP address`,
		`metrics_listen = "127.0.0.1:abc"`:                              `"abc" is no port number`,
		`bridge = "br:0"`:                                               "without a slash, a colon or a blank",
		`bridge = "lo"`:                                                 "which is no bridge",
		`state_dir = "/x"` + "\n" + `run_dir = "/y/../x"`:               "run_dir: want another directory",
		`listen = "unix:///` + strings.Repeat("a", 99) + `"`:            "listen: /aaa",
		`run_dir = "/` + strings.Repeat("a", 99) + `"`:                  "99 is the most",
		"nri = false\nnri_required_plugins = [\"a\"]":                   "nri_required_plugins: a can't connect with nri = false",
		"[handlers.a]\nseccomp = \"localhost/profile\"":                 "the absolute path of a profile",
		"[handlers.a]\nseccomp = \"localhost/" + profile + "\"":         `unknown seccomp action "SCMP_ACT_NOPE"`,
		`state_dir = "rel"`:                                             "want an absolute path",
		`run_dir = "./run"`:                                             "want an absolute path",
		`policy = "policy.toml"`:                                        "want an absolute path",
		`listen = "unix://` + dir + `"`:                                 "is no socket",
		`nri_socket = "` + plain + `"`:                                  "is no socket",
		`nri_socket = "` + plain + `/nri.sock"`:                         "not a directory",
		`nri_socket = "/` + strings.Repeat("a", 107) + `"`:              "107 is the most",
		`nri_required_plugins = [""]`:                                   "want the name of a plugin",
		`max_parallel_layers = 1000000`:                                 "want 0 to 1000",
		`cgroup_parent = "pods"`:                                        "such as /siflet",
		"cgroup_driver = \"cgroupfs\"\ncgroup_parent = \"a\"":           "such as /a",
		"[handlers.a]\nruntime_args = [\"--debug\"]":                    "runtime_args: is for another runtime",
		"[handlers.a]\nruntime_timeout = \"2m\"":                        "runtime_timeout: is for another runtime",
		"[handlers.a]\nannotations = [\"*\"]":                           "annotations: is for another runtime",
		"[handlers.a]\n[handlers.a]":                                    "handlers.a: is set in line 1 already",
		"log_level = \"info\"\n\n'log_level' = \"warn\"":                "log_level: is set in line 1 already",
		"[handlers.a]\n[handlers]\na.network = \"none\"\n[handlers.a]":  "handlers.a: is set in line 1 already",
		"bridge = \"\"\"\na\"\"\"\nsubnet = []\nbridge = \"b\"":         "bridge: is set in line 1 already",
		"handlers = {a = {}, a = {}}":                                   "already been defined",
		`stream_idle_timeout = "999999h"`:                               "stream_idle_timeout: 999999h; want 1s to 8760h",
		`stream_idle_timeout = "99999999h"`:                             `stream_idle_timeout: "99999999h"; want a duration with its unit, in quotes, such as "30s" or "5m"; 1s to 8760h`,
		`cni_timeout = "-5s"`:                                           "cni_timeout: -5s; want 1s to 1h",
		`cni_timeout = "5"`:                                             `cni_timeout: "5"; want a duration with its unit`,
		`cni_timeout = 5`:                                               `cni_timeout: 5; want a duration with its unit`,
		`cni_timeout = "999ms"`:                                         "cni_timeout: 999ms; want 1s to 1h",
		`nri_request_timeout = "0s"`:                                    "nri_request_timeout: 0s; want 1s to 1h",
		`nri_registration_timeout = "2h"`:                               "nri_registration_timeout: 2h; want 1s to 1h",
		`exec_drain_timeout = "1h1ns"`:                                  "exec_drain_timeout: 1h0m0.000000001s; want 0s to 1h",
		"[handlers.a]\nruntime = \"/bin/sh\"\nruntime_timeout = \"2h\"": "handlers.a.runtime_timeout: 2h; want 1s to 1h",
		"[handlers.a]\nruntime = \"crun\"":                              "want an absolute path, such as /usr/bin/crun",
		"[handlers.siflet]\nnetwork = \"none\"":                         "siflet's own handler",
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

func TestWhatHasNoEffectIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	cases := map[string]string{
		"log_level = \"info\"\nselinux_category_range = 64":             "selinux_category_range: without enable_selinux = true",
		"network = \"bridge\"\ncni_conf_dir = \"/etc\"":                 "cni_conf_dir: with network = \"bridge\" CNI is not used",
		"network = \"bridge\"\ncni_bin_dir = [\"/etc\"]":                "cni_bin_dir: with network = \"bridge\" CNI is not used",
		"nri = false\nnri_request_timeout = \"9s\"":                     "nri_request_timeout: with nri = false",
		"log_level = \"info\"\nnri_tolerate_missing_annotation = \"x\"": "no NRI plugin is required",
	}
	if !selinux.Supported() {
		cases["log_level = \"info\"\nenable_selinux = true"] = "enable_selinux: the kernel runs without SELinux"
	}
	for text, want := range cases {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		wrong, idle := Check(file)
		if len(wrong) != 0 || len(idle) != 1 || !strings.Contains(idle[0].Text, want) || idle[0].Where != file+":2" {
			t.Errorf("%s: wrong %q, idle %q; want a warning with %q at line 2", text, wrong, idle, want)
		}
	}
}

func TestPathsOfFlagsAreFromHere(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "", "--state-dir", "state", "--run-dir", "./run", "--policy", "policy.toml")
	if err != nil || c.StateDir != here+"/state" || c.RunDir != here+"/run" || c.Policy != here+"/policy.toml" {
		t.Errorf("%+v, %v; want the paths below %s", c, err, here)
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
