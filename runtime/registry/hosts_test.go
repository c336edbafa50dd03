package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describe says where and how an endpoint is reached.
func describe(e *endpoint) string {
	text := e.base()
	var textSb16 strings.Builder
	for name, on := range map[string]bool{" pull": e.pull && !e.resolve, " resolve": e.resolve && !e.pull, " neither": !e.pull && !e.resolve} {
		if on {
			textSb16.WriteString(name)
		}
	}
	text += textSb16.String()
	if e.security.skipVerify != nil {
		text += fmt.Sprintf(" skip=%v", *e.security.skipVerify)
	}
	if e.fallback {
		text += " or http"
	}
	if e.ns != "" {
		text += " ns=" + e.ns
	}
	return text
}

func TestHostsTable(t *testing.T) {
	for name, test := range map[string]struct {
		host  string
		files map[string]string
		want  []string
	}{
		"nothing":            {"quay.io", nil, []string{"https://quay.io/v2"}},
		"Docker Hub":         {"docker.io", nil, []string{"https://registry-1.docker.io/v2"}},
		"localhost":          {"localhost", nil, []string{"https://localhost/v2 skip=true"}},
		"localhost, 443":     {"localhost:443", nil, []string{"https://localhost:443/v2 skip=true"}},
		"localhost, 80":      {"localhost:80", nil, []string{"http://localhost:80/v2"}},
		"localhost, 5000":    {"localhost:5000", nil, []string{"https://localhost:5000/v2 skip=true or http"}},
		"LOCALHOST, 5000":    {"LOCALHOST:5000", nil, []string{"https://LOCALHOST:5000/v2 skip=true or http"}},
		"loopback":           {"127.8.0.1:5000", nil, []string{"https://127.8.0.1:5000/v2 skip=true or http"}},
		"IPv6 loopback":      {"[::1]:5000", nil, []string{"https://[::1]:5000/v2 skip=true or http"}},
		"not quite loopback": {"127.0.0.1.example:5000", nil, []string{"https://127.0.0.1.example:5000/v2"}},
		"server": {
			"docker.io",
			map[string]string{"a/docker.io/hosts.toml": `server = "https://docker.io"`},
			[]string{"https://registry-1.docker.io/v2"},
		},
		"Docker Hub's server": {
			"docker.io",
			map[string]string{"a/docker.io/hosts.toml": `server = "https://registry-1.docker.io"`},
			[]string{"https://registry-1.docker.io/v2"},
		},
		"no scheme": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": `server = "y.io/sub"`},
			[]string{"https://y.io/sub/v2 ns=x.io"},
		},
		"mirrors in the order of the file": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": "[host.\"https://z\"]\n[host.\"http://b:5000\"]\ncapabilities=['pull']\n[host.\"https://a/v2/\"]\ncapabilities=['Resolve','push','referrers']\n"},
			[]string{"https://z/v2 ns=x.io", "http://b:5000/v2 pull ns=x.io", "https://a/v2 resolve ns=x.io", "https://x.io/v2"},
		},
		"mirrors and a server": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": "server = 'https://up.io'\ncapabilities = ['push']\n[host.\"https://m\"]\n"},
			[]string{"https://m/v2 ns=x.io", "https://up.io/v2 neither ns=x.io"},
		},
		"override_path": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": "[host.\"https://m/api/docker\"]\noverride_path = true\n[host.\"https://n\"]\noverride_path = true"},
			[]string{"https://m/api/docker ns=x.io", "https://n ns=x.io", "https://x.io/v2"},
		},
		"http with TLS settings": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": "[host.\"http://m:5000\"]\nskip_verify = true\n[host.\"http://n:80\"]\nskip_verify = true"},
			[]string{"https://m:5000/v2 skip=true or http ns=x.io", "http://n:80/v2 skip=true ns=x.io", "https://x.io/v2"},
		},
		"port on disk": {
			"x.io:5000",
			map[string]string{"a/x.io_5000_/hosts.toml": "server='https://one'", "a/x.io:5000/hosts.toml": "server='https://two'"},
			[]string{"https://one/v2 ns=x.io:5000"},
		},
		"port with a colon": {
			"x.io:5000",
			map[string]string{"a/x.io:5000/hosts.toml": "server='https://two'", "a/_default/hosts.toml": "server='https://three'"},
			[]string{"https://two/v2 ns=x.io:5000"},
		},
		"default": {
			"x.io:5000",
			map[string]string{"a/_default/hosts.toml": "[host.'https://three']"},
			[]string{"https://three/v2 ns=x.io:5000", "https://x.io:5000/v2"},
		},
		"first directory": {
			"x.io",
			map[string]string{"a/x.io/hosts.toml": "server='https://a'", "b/x.io/hosts.toml": "server='https://b'"},
			[]string{"https://a/v2 ns=x.io"},
		},
		"second directory": {
			"x.io",
			map[string]string{"a/y.io/hosts.toml": "server='https://a'", "b/x.io/hosts.toml": "server='https://b'"},
			[]string{"https://b/v2 ns=x.io"},
		},
		"empty file": {"x.io", map[string]string{"a/x.io/hosts.toml": ""}, []string{"https://x.io/v2"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Options{Hosts: layOut(t, test.files)})
			list, err := c.endpoints(test.host)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, e := range list {
				got = append(got, describe(e))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func layOut(t *testing.T, files map[string]string) []string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
}

func TestMalformedHostsFileIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"server = ":                       "toml",
		"server = 5":                      "server",
		"server = 'https://a b'":          "want a URL",
		"server = 'https://u:p@x'":        "no place in the URL",
		"[host.\"\"]":                     "without a name",
		"[host.\"https://-x\"]":           "no host",
		"ca = 5":                          "ca: want a string",
		"ca = [5]":                        "ca: want a string",
		"ca = 'absent.pem'":               "absent.pem",
		"ca = 'hosts.toml'":               "has no certificate",
		"client = [['a','b','c']]":        "client: want a file",
		"client = 'absent.pem'":           "absent.pem",
		"dial_timeout = 'soon'":           "dial_timeout",
		"proxy = 'gopher://x'":            "proxy",
		"[header]\nx = 5":                 "header \"x\"",
		"skip_verify = 'yes'":             "skip_verify",
		"server = 'https://[::1'":         "want a URL",
		"[host]\n\"https://x\" = 'wrong'": "host",
	} {
		_, err := New(Options{Hosts: layOut(t, map[string]string{"a/x.io/hosts.toml": text})}).endpoints("x.io")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "x.io") {
			t.Errorf("%q: %v does not say whose settings they are", text, err)
		}
	}
}

func TestDockersCertificateFilesAreFound(t *testing.T) {
	roots := layOut(t, map[string]string{"a/x.io/ca.crt": "", "a/x.io/me.cert": "", "a/x.io/me.key": "", "a/x.io/other": ""})
	list, _, err := readDirectory(filepath.Join(roots[0], "x.io"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(roots[0], "x.io")
	want := security{ca: []string{dir + "/ca.crt"}, client: [][2]string{{dir + "/me.cert", dir + "/me.key"}}}
	if diff := cmp.Diff(want, list[0].security, cmp.AllowUnexported(security{})); diff != "" {
		t.Error(diff)
	}
	roots = layOut(t, map[string]string{"a/x.io/me.cert": ""})
	if _, _, err := readDirectory(filepath.Join(roots[0], "x.io")); err == nil || !strings.Contains(err.Error(), "me.cert has no key") {
		t.Errorf("without the key: %v", err)
	}
}

func TestClientSettingsAreReadRelativeToTheFile(t *testing.T) {
	list, _, err := parseHosts("/d", []byte("ca = ['/abs.pem', 'rel.pem']\nclient = ['one.pem', ['c', '/k'], ['p', '']]\ndial_timeout = '3s'\n[header]\nx-a = ['1', '2']"))
	if err != nil {
		t.Fatal(err)
	}
	e := list[0]
	if diff := cmp.Diff([]string{"/abs.pem", "/d/rel.pem"}, e.security.ca); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][2]string{{"/d/one.pem", ""}, {"/d/c", "/k"}, {"/d/p", ""}}, e.security.client); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1", "2"}, e.header["X-A"]); diff != "" || e.security.dial.Seconds() != 3 {
		t.Error(diff, e.security.dial)
	}
}

func FuzzParseHosts(f *testing.F) {
	f.Add("server = 'x'\n[host.'https://y']\nca = ['a']\nclient = [['a','b']]\n[host.'https://y'.header]\na = 'b'")
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := parseHosts("/d", []byte(text))
		if err == nil && len(list) == 0 {
			t.Error("no server")
		}
		for _, e := range list {
			if e.host != "" && checkHost(e.host) != "" {
				t.Errorf("host %q", e.host)
			}
		}
	})
}

func TestChallengesAreRead(t *testing.T) {
	for text, want := range map[string]challenge{
		`Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"`: {scheme: "bearer", realm: "https://a/t", service: "s", scope: "repository:a/b:pull,push"},
		`Basic realm="x", Bearer realm="https://a"`:                               {scheme: "bearer", realm: "https://a"},
		`Negotiate, Basic realm="a \"b\""`:                                        {scheme: "basic", realm: `a "b"`},
		`bearer Realm=https://a/t , service = s`:                                  {scheme: "bearer", realm: "https://a/t", service: "s"},
		`Basic`:                                                                   {scheme: "basic"},
		`Bearer service="s"`:                                                      {},
		`Negotiate abc==, Digest`:                                                 {},
		`=,"=`:                                                                    {},
		``:                                                                        {},
	} {
		got, ok := challenged(map[string][]string{"Www-Authenticate": {text}})
		if got != want || ok != (want.scheme != "") {
			t.Errorf("%q = %+v, want %+v", text, got, want)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="s",scope="x"`)
	f.Fuzz(func(_ *testing.T, text string) { parseChallenges(text) })
}
