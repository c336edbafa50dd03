// Package packages_test looks into the packages that "make packages" made. test/systemd
// installs one.
package packages_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// expected are the files of a package but for the manual's.
func expected() []string {
	return []string{
		"/etc/siflet/config.toml", "/usr/bin/siflet", "/usr/lib/systemd/system/siflet-agent.service", "/usr/libexec/siflet/siflet-action",
		"/usr/libexec/siflet/siflet-agent", "/usr/libexec/siflet/siflet-fuse", "/usr/libexec/siflet/siflet-instance",
		"/usr/share/bash-completion/completions/siflet", "/usr/share/doc/siflet/siflet-alerts.yaml", "/usr/share/doc/siflet/siflet-dashboard.json", "/usr/share/fish/vendor_completions.d/siflet.fish", "/usr/share/zsh/site-functions/_siflet",
	}
}

// pages are some of the manual's.
func pages() []string {
	return []string{
		"/usr/share/man/man1/siflet.1.gz", "/usr/share/man/man1/siflet-instance-start.1.gz", "/usr/share/man/man8/siflet-agent.8.gz",
	}
}

func find(t *testing.T, pattern string) string {
	t.Helper()
	dir := os.Getenv("SIFLET_PACKAGES")
	if dir == "" {
		t.Skip("SIFLET_PACKAGES is not set: see make test-packages")
	}
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v, want one", pattern, found, err)
	}
	return found[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// checkFiles compares the files of a package with those that are expected.
func checkFiles(t *testing.T, names []string, more ...string) {
	t.Helper()
	var others []string
	for _, name := range names {
		if !strings.HasPrefix(name, "/usr/share/man/") {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	want := append(expected(), more...)
	slices.Sort(want)
	if diff := cmp.Diff(want, others); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, page := range pages() {
		if !slices.Contains(names, page) {
			t.Errorf("there is no %s", page)
		}
	}
}

func TestTheDebHasEverything(t *testing.T) {
	deb := find(t, "*.deb")
	var names []string
	for line := range strings.Lines(output(t, "dpkg-deb", "-c", deb)) {
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "d") {
			names = append(names, strings.TrimPrefix(fields[5], "."))
		}
		if fields[1] != "root/root" {
			t.Errorf("not root's: %s", line)
		}
	}
	checkFiles(t, names, "/usr/share/zsh/vendor-completions/_siflet") // where Debian's zsh looks
	if got := output(t, "dpkg-deb", "-I", deb, "conffiles"); strings.TrimSpace(got) != "/etc/siflet/config.toml" {
		t.Errorf("conffiles are %q", got)
	}
}

func TestTheRPMHasEverything(t *testing.T) {
	rpm := find(t, "*.rpm")
	names := strings.Fields(output(t, "rpm", "-qlp", "--nosignature", rpm))
	names = slices.DeleteFunc(names, func(name string) bool {
		return filepath.Base(name) == "siflet" && name != "/usr/bin/siflet" && !strings.Contains(name, "completions")
	}) // directories
	checkFiles(t, names)
	if got := output(t, "rpm", "-qcp", "--nosignature", rpm); strings.TrimSpace(got) != "/etc/siflet/config.toml" {
		t.Errorf("configuration files are %q", got)
	}
}

// TestWhatIsInstalledWorks unpacks a package, and has its programs and files tried.
func TestWhatIsInstalledWorks(t *testing.T) {
	root := t.TempDir()
	output(t, "dpkg-deb", "-x", find(t, "*.deb"), root)
	siflet := filepath.Join(root, "usr/bin/siflet")
	if version := strings.TrimSpace(output(t, siflet, "version")); version == "" || version == "dev" {
		t.Errorf("version is %q", version)
	}
	if got := output(t, siflet, "config", "check", filepath.Join(root, "etc/siflet/config.toml")); !strings.Contains(got, "nothing is wrong") {
		t.Errorf("config check: %s", got)
	}
	// Found in libexec, from where siflet is.
	if got := output(t, siflet, "agent", "--help"); !strings.Contains(got, "--metrics-listen") {
		t.Errorf("agent --help: %s", got)
	}
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/siflet-agent.service"))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/bin/siflet agent\n") {
		t.Errorf("the unit starts another program: %v\n%s", err, unit)
	}
	completions := filepath.Join(root, "usr/share/bash-completion/completions/siflet")
	try := "export PATH=" + filepath.Dir(siflet) + ":$PATH; . " + completions + " && complete -p siflet"
	if got := output(t, "bash", "-c", try); !strings.Contains(got, "__start_siflet siflet") {
		t.Errorf("bash completes siflet by %s", got)
	}
	for _, page := range pages() {
		if text := output(t, "gzip", "-dc", root+page); !strings.HasPrefix(text, ".TH ") {
			t.Errorf("%s is no page of the manual: %.60s", page, text)
		}
	}
}
