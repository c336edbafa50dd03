package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReferenceReadsDockersNames(t *testing.T) {
	for text, want := range map[string][2]string{ // full, familiar
		"nginx":                            {"docker.io/library/nginx:latest", "nginx:latest"},
		"nginx:1.27":                       {"docker.io/library/nginx:1.27", "nginx:1.27"},
		"library/nginx":                    {"docker.io/library/nginx:latest", "nginx:latest"},
		"docker.io/nginx":                  {"docker.io/library/nginx:latest", "nginx:latest"},
		"index.docker.io/nginx":            {"docker.io/library/nginx:latest", "nginx:latest"},
		"index.docker.io/library/nginx":    {"docker.io/library/nginx:latest", "nginx:latest"},
		"bitnami/redis:7":                  {"docker.io/bitnami/redis:7", "bitnami/redis:7"},
		"a/b/c":                            {"docker.io/a/b/c:latest", "a/b/c:latest"},
		"localhost/x":                      {"localhost/x:latest", "localhost/x:latest"},
		"localhost:5000/x:y":               {"localhost:5000/x:y", "localhost:5000/x:y"},
		"localhost:5000":                   {"docker.io/library/localhost:5000", "localhost:5000"},
		"[::1]:5000/x":                     {"[::1]:5000/x:latest", "[::1]:5000/x:latest"},
		"[2001:db8::1]/a/b:c":              {"[2001:db8::1]/a/b:c", "[2001:db8::1]/a/b:c"},
		"HOST/x":                           {"HOST/x:latest", "HOST/x:latest"},
		"Example.COM/x":                    {"Example.COM/x:latest", "Example.COM/x:latest"},
		"quay.io/x@sha256:" + hex64:        {"quay.io/x@sha256:" + hex64, "quay.io/x@sha256:" + hex64},
		"x:v1@sha256:" + hex64:             {"docker.io/library/x:v1@sha256:" + hex64, "x:v1@sha256:" + hex64},
		"x@sha512:" + hex64 + hex64:        {"docker.io/library/x@sha512:" + hex64 + hex64, "x@sha512:" + hex64 + hex64},
		hex64 + ":tag":                     {"docker.io/library/" + hex64 + ":tag", hex64 + ":tag"},
		"docker.io/a.b/c":                  {"docker.io/a.b/c:latest", "docker.io/a.b/c:latest"},
		"docker.io/localhost/c":            {"docker.io/localhost/c:latest", "docker.io/localhost/c:latest"},
		"a__b/c--d_e.f":                    {"docker.io/a__b/c--d_e.f:latest", "a__b/c--d_e.f:latest"},
		"x:_.-" + strings.Repeat("a", 125): {"docker.io/library/x:_.-" + strings.Repeat("a", 125), "x:_.-" + strings.Repeat("a", 125)},
	} {
		r, err := registry.ParseReference(text)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", text, err)
			continue
		}
		if r.String() != want[0] || r.Familiar() != want[1] {
			t.Errorf("ParseReference(%q) = %s, %s, want %s, %s", text, r, r.Familiar(), want[0], want[1])
		}
	}
}

func TestParseReferenceSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "empty",
		hex64:                                    "64 hexadecimal digits",
		"docker://nginx":                         "no scheme",
		"Nginx":                                  "lowercase",
		"a/B":                                    "lowercase",
		"nginx:":                                 "tag is empty",
		"nginx:" + strings.Repeat("a", 129):      "longer than 128",
		"nginx:-a":                               "tag",
		"nginx@":                                 "want sha256",
		"nginx@sha256:abc":                       "64 hexadecimal digits",
		"nginx@sha256:" + strings.ToUpper(hex64): "hexadecimal digits",
		"nginx@md5:0123456789abcdef0123456789abcdef": "want sha256",
		"x@sha256:" + hex64 + "@sha256:" + hex64:     "hexadecimal digits",
		"a//b":                                       "repository",
		"/a":                                         "repository",
		"a/":                                         "repository",
		"host.example/":                              "no repository",
		"a..b/c":                                     "host",
		"-a.b/c":                                     "host",
		"a___b":                                      "repository",
		"a_":                                         "repository",
		"a.b:x/c":                                    "port",
		"a.b:/c":                                     "port",
		"[::1/c":                                     "IPv6",
		"[::g]/c":                                    "IPv6",
		"[::1]x/c":                                   "host",
		"a b":                                        "repository",
		"a\nb":                                       "repository",
		"a.b/é":                                      "repository",
		"a/" + strings.Repeat("b", 254):              "longer than 255",
		strings.Repeat("a", 5000):                    "too long",
	} {
		r, err := registry.ParseReference(text)
		if !errors.Is(err, registry.ErrReference) {
			t.Errorf("ParseReference(%q) = %v, %v, want ErrReference", text, r, err)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseReference(%q): %v, want it to say %q", text, err, want)
		}
	}
}

func TestNamesWithAPasswordAreRefusedWithoutRepeatingIt(t *testing.T) {
	for text, shown := range map[string]string{
		"ann:hunter2@localhost:5000/x":                 "localhost:5000/x",
		"ann:hunter2@localhost:5000/x@sha256:" + hex64: "localhost:5000/x@sha256:" + hex64,
		"ann:hunter2@localhost:5000":                   "localhost:5000",
		"ann:hun/ter@2@quay.io/x:1":                    "quay.io/x:1",
		"hunter2@quay.io/x":                            "quay.io/x",
		"quay.io/x:1@sha256:" + hex64:                  "",
		"localhost:5000/x@latest":                      "",
		"nginx@latest":                                 "",
		"nginx:1@sha256:short":                         "",
	} {
		_, err := registry.ParseReference(text)
		said := err != nil && strings.Contains(err.Error(), "siflet registry login, or with --docker-username")
		if got := registry.WithoutUser(text); shown == "" && (got != text || said) {
			t.Errorf("WithoutUser(%q) = %q, ParseReference: %v; there is nothing to hide", text, got, err)
		} else if shown != "" && (got != shown || !said || strings.Contains(err.Error(), "hun")) {
			t.Errorf("WithoutUser(%q) = %q, want %q; ParseReference: %v", text, got, shown, err)
		}
	}
}

// FuzzParseReference checks that what is read is read the same again, in both its forms.
func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{
		"nginx", "localhost:5000/a/b:1.0", "quay.io/x@sha256:" + hex64, "[::1]:5/a", "index.docker.io/a.b/c", "A/b", hex64,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := registry.ParseReference(text)
		if err != nil {
			if !errors.Is(err, registry.ErrReference) {
				t.Errorf("ParseReference(%q): %v is no ErrReference", text, err)
			}
			return
		}
		if err := r.Valid(); err != nil {
			t.Errorf("ParseReference(%q).Valid() = %v", text, err)
		}
		for _, form := range []string{r.String(), r.Familiar()} {
			if again, err := registry.ParseReference(form); err != nil || again != r {
				t.Errorf("ParseReference(%q) of %q = %v, %v, want %v", form, text, again, err, r)
			}
		}
	})
}
