package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/action"
)

func TestBindsSplitAtCommasAndColonsThatAreNotEscaped(t *testing.T) {
	got, err := parseBinds([]string{"/:/a,/:/b:ro", "/:/c,ro", `/:/with\:colon`, `/:/with\,comma`, "/"})
	if err != nil {
		t.Fatal(err)
	}
	want := []runtime.Mount{
		{Source: "/", Target: "/a"},
		{Source: "/", Target: "/b", Readonly: true},
		{Source: "/", Target: "/c", Readonly: true},
		{Source: "/", Target: "/with:colon"},
		{Source: "/", Target: "/with,comma"},
		{Source: "/", Target: "/"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{":/a", "/:relative", "/:/a:xx", "/:/a:ro:x", "/no/such/source"} {
		if _, err := parseBinds([]string{bad}); err == nil {
			t.Errorf("parseBinds(%q) is no error", bad)
		}
	}
}

func TestMountsAreCSV(t *testing.T) {
	got, err := parseMounts([]string{`type=bind,src=/,"dst=/with,comma",ro`, "source=/,target=/t,bind-propagation=rslave"})
	if err != nil {
		t.Fatal(err)
	}
	want := []runtime.Mount{
		{Source: "/", Target: "/with,comma", Readonly: true},
		{Source: "/", Target: "/t", Propagation: "slave"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"type=tmpfs,dst=/x", "type=bind,dst=/x", "src=/", "src=/,dst=x", "src=/,dst=/x,what=1", `"`} {
		if _, err := parseMounts([]string{bad}); err == nil {
			t.Errorf("parseMounts(%q) is no error", bad)
		}
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "64k": 64 << 10, "200M": 200 << 20, "1.5g": 3 << 29, "2GiB": 2 << 30, "1tb": 1 << 40, "-1": -1,
	} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "M", "-2", "1x", "NaN", "9999999999T", "1e400"} {
		if got, err := parseBytes(bad); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", bad, got)
		}
	}
}

func TestEnvironmentValuesMayHoldCommas(t *testing.T) {
	got, err := parseEnv([]string{"A=1,B=2", "C=x,y", `"D=x,y",E=`, "F=a\nb"})
	if err != nil {
		t.Fatal(err)
	}
	want := []action.Var{
		{Name: "A", Value: "1"},
		{Name: "B", Value: "2"},
		{Name: "C", Value: "x,y"},
		{Name: "D", Value: "x,y"},
		{Name: "E"},
		{Name: "F", Value: "a\nb"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"A", "1A=x", "A-B=x", "=x"} {
		if _, err := parseEnv([]string{bad}); err == nil {
			t.Errorf("parseEnv(%q) is no error", bad)
		}
	}
}

func TestPortmapsName1To65535(t *testing.T) {
	o := actionOptions{net: true, network: "bridge", networkArgs: []string{"portmap=80:8080;portmap=53:53/udp", "portmap=1:65535/sctp"}}
	got, err := o.ports()
	if err != nil {
		t.Fatal(err)
	}
	want := []network.Port{
		{Host: 80, Container: 8080, Protocol: "tcp"},
		{Host: 53, Container: 53, Protocol: "udp"},
		{Host: 1, Container: 65535, Protocol: "sctp"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b network.Port) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"portmap=80", "portmap=0:1", "portmap=1:65536", "portmap=1:2/icmp", "IP=1.2.3.4", "portmap=a:b"} {
		o.networkArgs = []string{bad}
		if _, err := o.ports(); err == nil {
			t.Errorf("--network-args %s is no error", bad)
		}
	}
}

func TestFlagsComeFromTheFirstVariableThatIsSet(t *testing.T) {
	vars := map[string]string{
		"SINGULARITY_BINDPATH": "/s", "APPTAINER_BIND": "/a", "SIFLET_CONTAIN": "true", "SINGULARITY_ENV": "X=1", "APPTAINER_HOSTNAME": "from-variable",
	}
	var o actionOptions
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.register(flags)
	if err := flags.Parse([]string{"--hostname", "from-flag"}); err != nil {
		t.Fatal(err)
	}
	err := flagsFromEnvironment(flags, func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
	if err != nil || !cmp.Equal(o.binds, []string{"/a"}) || !o.contain || o.env != nil || o.hostname != "from-flag" {
		t.Errorf("binds %q, contain %v, env %q, hostname %q, %v", o.binds, o.contain, o.env, o.hostname, err)
	}
	err = flagsFromEnvironment(flags, func(name string) (string, bool) { return "lots", name == "SIFLET_PIDS_LIMIT" })
	if err == nil {
		t.Error("a number that is none is no error")
	}
}

func TestInstanceNames(t *testing.T) {
	for name, want := range map[string]bool{
		"web": true, "Web-1.2_x": true, "we b": false, "": false, ".": false, "..": false, "a/b": false, "ü": false, "a*": false,
	} {
		if got := validInstanceName(name); got != want {
			t.Errorf("validInstanceName(%q) = %v", name, got)
		}
	}
}
