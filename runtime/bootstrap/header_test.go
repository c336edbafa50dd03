package bootstrap

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

func parse(t *testing.T, text string) (*definition.Definition, *definition.Stage) {
	t.Helper()
	d, err := definition.Parse("x.def", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, &d.Stages[0]
}

// commandsOf are the arguments of what is run for a header, by the first tool of each.
func commandsOf(t *testing.T, text string) ([][]string, plan) {
	t.Helper()
	d, s := parse(t, text)
	if err := Check(d, s); err != nil {
		t.Fatal(err)
	}
	h := &header{file: d.File, Header: s.Header, temp: "/tmp/x"}
	p := agents()[h.Bootstrap()](h, "/root")
	var list [][]string
	for _, c := range p.commands {
		list = append(list, append([]string{c.tools[0].name}, c.tools[0].args...))
	}
	return list, p
}

func TestToolsGetWhatTheHeaderSays(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       [][]string
	}{
		{
			"debian", "Bootstrap: debootstrap\nMirrorURL: http://deb/debian\nOSVersion: bookworm\n",
			[][]string{{"mmdebstrap", "--variant=minbase", "--quiet", "--format=directory", "--", "bookworm", "/root", "http://deb/debian"}},
		},
		{
			"debian, all keys", "Bootstrap: debootstrap\nMirrorURL: http://deb/debian\nOSVersion: bookworm\nInclude: vim, curl  nginx=1.2-3\n" +
				"Variant: buildd\nComponents: main contrib\nKeyring: /k.gpg\n",
			[][]string{{
				"mmdebstrap", "--variant=buildd", "--keyring=/k.gpg", "--components=main,contrib", "--include=vim,curl,nginx=1.2-3",
				"--quiet", "--format=directory", "--", "bookworm", "/root", "http://deb/debian",
			}},
		},
		{
			"dnf", "Bootstrap: dnf\nMirrorURL: http://m/%{OSVERSION}/\nOSVersion: 40\nInclude: vim @core\nSetopt: a=b c.d=1\n",
			[][]string{{
				"dnf", "--noplugins", "-c", "/tmp/x/dnf.conf", "--installroot", "/root", "-y", "--releasever=40", "--setopt=a=b", "--setopt=c.d=1",
				"install", "/etc/redhat-release", "coreutils", "vim", "@core",
			}},
		},
		{
			"zypper", "Bootstrap: zypper\nMirrorURL: http://m/%{osversion}/\nOSVersion: 15.6\nOtherurl1: http://o/%{OSVERSION}\nKeyring: /k\n",
			[][]string{
				{"rpmkeys", "--root", "/root", "--import", "/k"},
				{"zypper", "--non-interactive", "--root", "/root", "--releasever=15.6", "addrepo", "--refresh", "http://m/15.6/", "repo"},
				{"zypper", "--non-interactive", "--root", "/root", "--releasever=15.6", "addrepo", "--refresh", "http://o/15.6", "otherurl1"},
				{"zypper", "--non-interactive", "--root", "/root", "--releasever=15.6", "refresh"},
				{
					"zypper", "--non-interactive", "--root", "/root", "--releasever=15.6", "install", "--auto-agree-with-licenses",
					"--download-in-advance", "--no-recommends", "aaa_base",
				},
			},
		},
		{
			"zypper without a key", "Bootstrap: zypper\nMirrorURL: file:///m\n",
			[][]string{
				{"zypper", "--non-interactive", "--root", "/root", "--gpg-auto-import-keys", "--no-gpg-checks", "addrepo", "--refresh", "file:///m", "repo"},
				{"zypper", "--non-interactive", "--root", "/root", "--gpg-auto-import-keys", "--no-gpg-checks", "refresh"},
				{
					"zypper", "--non-interactive", "--root", "/root", "--gpg-auto-import-keys", "--no-gpg-checks", "install",
					"--auto-agree-with-licenses", "--download-in-advance", "--no-recommends", "aaa_base",
				},
			},
		},
		{
			"arch", "Bootstrap: arch\nInclude: vim\n",
			[][]string{
				{"pacstrap", "-C", "/tmp/x/pacman.conf", "-c", "-G", "-M", "/root", "base", "vim"},
				{"arch-chroot", "/root", "pacman-key", "--init"},
				{"arch-chroot", "/root", "pacman-key", "--populate", "archlinux"},
			},
		},
		{"scratch", "Bootstrap: scratch\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := commandsOf(t, c.text)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDebootstrapTakesWhatMmdebstrapDoes(t *testing.T) {
	_, p := commandsOf(t, "Bootstrap: debootstrap\nMirrorURL: http://deb/debian\nOSVersion: bookworm\nInclude: vim curl\nKeyring: /k.gpg\n")
	want := []string{
		"--variant=minbase", "--keyring=/k.gpg", "--include=vim,curl", "--exclude=openssl,udev,debconf-i18n,e2fsprogs",
		"bookworm", "/root", "http://deb/debian",
	}
	tool := p.commands[0].tools[1]
	if diff := cmp.Diff(want, tool.args); tool.name != "debootstrap" || diff != "" {
		t.Errorf("%s (-want +got):\n%s", tool.name, diff)
	}
}

func TestDnfChecksSignaturesWithTheKeyItIsGiven(t *testing.T) {
	text := "Bootstrap: yum\nMirrorURL: http://m/\nUpdateURL: http://u/\n"
	_, p := commandsOf(t, text)
	if len(p.warnings) != 1 || strings.Contains(p.files["dnf.conf"], "gpgcheck=1") {
		t.Errorf("without a key: warnings %v, and\n%s\nwant one and no checks", p.warnings, p.files["dnf.conf"])
	}
	_, p = commandsOf(t, text+"Keyring: /etc/key\n")
	if got := strings.Count(p.files["dnf.conf"], "gpgcheck=1\ngpgkey=file:///etc/key\n"); got != 2 || len(p.warnings) > 0 {
		t.Errorf("with a key: %d repositories checked, warnings %v; want 2 and none:\n%s", got, p.warnings, p.files["dnf.conf"])
	}
}

func TestHeadersThatCantBeAreRefused(t *testing.T) {
	const debian = "Bootstrap: debootstrap\nMirrorURL: http://deb/debian\nOSVersion: bookworm\n"
	for _, c := range []struct{ name, text, want string }{
		{
			"nothing", "Bootstrap: debootstrap\n", "x.def:1: bootstrap debootstrap needs a line \"mirrorurl: http://deb.debian.org/debian\"\n" +
				"x.def:1: bootstrap debootstrap needs a line \"osversion: bookworm\"",
		},
		{"option as a mirror", "Bootstrap: busybox\nMirrorURL: --x\n", `x.def:2: mirrorurl: "--x" is no address that begins with https:// or http:// or file://`},
		{
			"option as a version", "Bootstrap: debootstrap\nMirrorURL: http://deb/debian\nOSVersion: --setup-hook=id\n",
			`x.def:3: osversion: "--setup-hook=id" is not understood`,
		},
		{"option as a package", debian + "Include: vim --hook\n", `x.def:4: include: "--hook" is no name of a package`},
		{"shell as a package", debian + "Include: $(id)\n", `x.def:4: include: "$(id)" is no name of a package`},
		{"quote in a mirror", "Bootstrap: dnf\nMirrorURL: http://x/'\n", `x.def:2: mirrorurl: "http://x/'" is no address`},
		{"space in a mirror", "Bootstrap: dnf\nMirrorURL: http://x/ y\n", `x.def:2: mirrorurl: "http://x/ y" is no address`},
		{"line in a mirror", "Bootstrap: dnf\nMirrorURL: http://x/\\n\\\nplugins=1\n", `x.def:2: mirrorurl: "http://x/\nplugins=1" is no address`},
		{
			"no host", "Bootstrap: dnf\nMirrorURL: http:///x\n",
			`x.def:2: mirrorurl: "http:///x" is no address: it names no host, or a path that is not absolute`,
		},
		{
			"no version", "Bootstrap: dnf\nMirrorURL: http://x/%{OSVersion}\n",
			`x.def:2: mirrorurl: it has %{OSVERSION} in it, and there is no line "osversion: VERSION"`,
		},
		{"option of dnf", "Bootstrap: dnf\nMirrorURL: http://x/\nSetopt: --x\n", `x.def:3: setopt: "--x" is not NAME=VALUE`},
		{"relative key", debian + "Keyring: k.gpg\n", `x.def:4: keyring: "k.gpg" is no absolute path of a file on this machine`},
		{"sum", "Bootstrap: busybox\nMirrorURL: http://x/b\nFingerprints: 1234\n", `x.def:3: fingerprints: "1234" is not understood`},
		{
			"SLE", "Bootstrap: zypper\nMirrorURL: http://x\nProduct: SLES\n",
			`x.def:3: product: systems that have to be registered (SUSE Linux Enterprise) can't be installed: begin with an image of ` +
				`SUSE's registry, as in "Bootstrap: docker"`,
		},
		{"an image", "Bootstrap: docker\nFrom: x\n", `"docker" is not installed by tools of a distribution`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, s := parse(t, c.text)
			dir := t.TempDir()
			err := Fill(t.Context(), d, s, dir, Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("Fill() = %v\nwant %s", err, c.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				t.Errorf("Fill() left %v", entries)
			}
		})
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	if slices.ContainsFunc(strings.Split(searchPath, ":"), func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "pacstrap"))
		return err == nil
	}) {
		t.Skip("pacstrap is installed")
	}
	d, s := parse(t, "Bootstrap: arch\n")
	err := Fill(t.Context(), d, s, t.TempDir(), Options{})
	want := `x.def:1: bootstrap arch: pacstrap is not on this machine: install it (apt-get install arch-install-scripts ` +
		`pacman-package-manager archlinux-keyring), or begin with an image, as in "Bootstrap: docker"`
	if err == nil || err.Error() != want {
		t.Errorf("Fill() = %v\nwant %s", err, want)
	}
}

// TestMain is the guard of the tools that the tests run, too.
func TestMain(m *testing.M) {
	if os.Args[0] == linux.GuardName {
		os.Exit(linux.Guard(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestDebianIsInstalled has a real tool unpack one small package of a real mirror.
func TestDebianIsInstalled(t *testing.T) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root installs Debian")
	}
	mirror := debianMirror(t)
	d, s := parse(t, "Bootstrap: debootstrap\nOSVersion: bookworm\nVariant: extract\nInclude: busybox-static\nMirrorURL: "+mirror+"\n")
	dir, temp := t.TempDir(), t.TempDir()
	if err := Fill(t.Context(), d, s, dir, Options{Stderr: os.Stderr, Temp: temp}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/busybox")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("busybox = %v, %v; want a program", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "etc/resolv.conf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host's resolv.conf is there (%v)", err)
	}
	if entries, _ := os.ReadDir(temp); len(entries) > 0 {
		t.Errorf("Fill() left %v", entries)
	}
}

// debianMirror is the one that this machine is installed from.
func debianMirror(t *testing.T) string {
	t.Helper()
	names, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, name := range append([]string{"/etc/apt/sources.list"}, names...) {
		text, _ := os.ReadFile(name)
		for line := range strings.Lines(string(text)) {
			for word := range strings.FieldsSeq(line) {
				if strings.HasPrefix(word, "http") && strings.HasSuffix(strings.TrimRight(word, "/"), "/debian") && !strings.HasPrefix(line, "#") {
					reachable(t, word+"/dists/bookworm/InRelease")
					return word
				}
			}
		}
	}
	t.Skip("this machine is not installed from a mirror of Debian")
	return ""
}

// reachable skips the test when an address can't be read from here.
func reachable(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Skipf("the mirror can't be reached: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Skipf("%s: %s", address, resp.Status)
	}
}
