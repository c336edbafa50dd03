package source

import (
	goruntime "runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestSchemeTellsSchemesFromNamesAndPaths(t *testing.T) {
	for ref, want := range map[string][3]string{
		"docker://a/b:c":           {"docker", "a/b:c", "ok"},
		"oras://a/b":               {"oras", "a/b", "ok"},
		"library://a":              {"library", "a", "ok"},
		"https://a/b.sif":          {"https", "a/b.sif", "ok"},
		"http://a/b.sif":           {"http", "a/b.sif", "ok"},
		"oci:/a:b":                 {"oci", "/a:b", "ok"},
		"oci:///a:b":               {"oci", "/a:b", "ok"},
		"docker-archive:a.tar:b":   {"docker-archive", "a.tar:b", "ok"},
		"docker-archive://a.tar":   {"docker-archive", "a.tar", "ok"},
		"oci-archive:a.tar":        {"oci-archive", "a.tar", "ok"},
		"nginx":                    {"", "nginx", "ok"},
		"docker:latest":            {"", "docker:latest", "ok"},
		"library:latest":           {"", "library:latest", "ok"},
		"localhost:5000/a":         {"", "localhost:5000/a", "ok"},
		"/a/b.sif":                 {"", "/a/b.sif", "ok"},
		"/a/b://c":                 {"", "/a/b://c", "ok"},
		"sif:///a/b.sif":           {"", "sif:///a/b.sif", "ok"},
		"shub://a/b":               {"shub", "a/b", ""},
		"instance://a":             {"instance", "a", ""},
		"docker-daemon:a":          {"docker-daemon", "a", ""},
		"containers-storage:a:b/c": {"containers-storage", "a:b/c", ""},
	} {
		scheme, rest, ok := Scheme(ref)
		if scheme != want[0] || rest != want[1] || ok != (want[2] == "ok") {
			t.Errorf("Scheme(%s) = %q, %q, %v, want %q", ref, scheme, rest, ok, want)
		}
	}
}

func TestPlatformsAreRankedAsTheyFit(t *testing.T) {
	for _, c := range []struct{ arch, best, worse string }{
		{"amd64", "linux/amd64", "linux/386"},
		{"amd64", "linux/x86_64", "linux/386"},
		{"arm64", "linux/arm64/v8", "linux/arm/v7"},
		{"arm64", "linux/aarch64", "linux/arm/v8"},
		{"arm", "linux/arm", "linux/arm/v6"},
		{"arm", "linux/arm/7", "linux/arm/v5"},
	} {
		wanted := platforms(c.arch)
		best, worse := rank(wanted, platform(t, c.best)), rank(wanted, platform(t, c.worse))
		if best != 0 || worse <= best {
			t.Errorf("for %s: %s is %d, %s is %d, want the first to be 0 and the second more", c.arch, c.best, best, c.worse, worse)
		}
	}
	for arch, other := range map[string]string{"amd64": "linux/arm64", "arm": "linux/arm/v8", "arm64": "windows/arm64", "s390x": "linux/amd64"} {
		if got := rank(platforms(arch), platform(t, other)); got >= 0 {
			t.Errorf("for %s: %s is %d, want -1", arch, other, got)
		}
	}
}

func platform(t *testing.T, text string) v1.Platform {
	t.Helper()
	p, err := v1.ParsePlatform(text)
	if err != nil {
		t.Fatal(err)
	}
	return *p
}

func TestPlainImagesGoBeforeThoseForNewerProcessors(t *testing.T) {
	index, digests := indexOf(t, "linux/amd64/v2", "linux/amd64")
	ref := "oci:" + layoutOf(t, named{"v1", index})
	if got := opened(t, ref, Options{}).Manifest; got != digests["linux/amd64"] {
		t.Errorf("manifest %s, want %s", got, digests["linux/amd64"])
	}
	if goruntime.GOARCH == "amd64" && len(platforms("")) != amd64Level()+1 {
		t.Errorf("platforms %v on a processor of level %d", platforms(""), amd64Level())
	}
}

func TestFileNameIsOneElement(t *testing.T) {
	for name, want := range map[string]string{
		"a.sif": "a.sif", "/x/a.sif": "a.sif", "../../a.sif": "a.sif", `C:\x\a.sif`: "a.sif",
		"": "", "..": "", "/": "", "a\nb": "", "a\x00b": "", strings.Repeat("x", 300): "",
	} {
		if got := fileName(name); got != want {
			t.Errorf("fileName(%q) = %q, want %q", name, got, want)
		}
	}
}
