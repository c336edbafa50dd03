package bootstrap

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
)

func rpmVersion() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`) }

func rpmPackage() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9@/_][A-Za-z0-9@/_.+:~^*()-]*$`)
}

func rpmOption() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]+=[A-Za-z0-9_.:/*,-]*$`) }

func osVersion() *regexp.Regexp { return regexp.MustCompile(`(?i)%{osversion}`) }

// mirror is the address of a key, with the version of the system put in.
func (h *header) mirror(key, version string) string {
	value := h.Value(key)
	if osVersion().MatchString(value) && version == "" {
		h.failf(key, "it has %%{OSVERSION} in it, and there is no line \"osversion: VERSION\"")
		return ""
	}
	return h.url(key, osVersion().ReplaceAllString(value, version), "http", "https", "ftp", "file")
}

// unverified is the warning about packages that nobody vouches for.
func (h *header) unverified(key string) []string {
	if key != "" {
		return nil
	}
	return []string{"the packages' signatures are not checked: name the distribution's key with a line \"keyring: /path/of/the/key\""}
}

// dnf installs Fedora and its kin.
func dnf(h *header, dir string) plan {
	h.need("mirrorurl", "http://mirror.example.org/fedora/releases/%{OSVERSION}/Everything/x86_64/os/")
	version := h.word("osversion", rpmVersion())
	mirror, update := h.mirror("mirrorurl", version), h.mirror("updateurl", version)
	packages := append([]string{"/etc/redhat-release", "coreutils"}, h.words("include", rpmPackage())...)
	key := h.path("keyring")

	var config strings.Builder
	config.WriteString("[main]\nkeepcache=0\nexactarch=1\nobsoletes=1\nplugins=0\ndeltarpm=0\ninstall_weak_deps=0\n" +
		"reposdir=" + h.temp + "/none\nvarsdir=" + h.temp + "/none\n")
	config.WriteString(repository("base", mirror, key))
	if update != "" {
		config.WriteString(repository("updates", update, key))
	}
	args := []string{"--noplugins", "-c", h.temp + "/dnf.conf", "--installroot", dir, "-y"}
	if version != "" {
		args = append(args, "--releasever="+version)
	}
	for option := range strings.FieldsSeq(h.Value("setopt")) {
		if !rpmOption().MatchString(option) {
			h.failf("setopt", "%q is not NAME=VALUE", option)
		}
		args = append(args, "--setopt="+option)
	}
	args = append(append(args, "install"), packages...)
	return plan{
		files:    map[string]string{"dnf.conf": config.String(), ".rpmmacros": rpmMacros()},
		warnings: h.unverified(key),
		commands: []command{{
			tools:   []tool{{"dnf", args}, {"yum", args}},
			install: "apt-get install dnf, or dnf install dnf",
		}},
		finish: func(_ context.Context, root *os.Root) error {
			for _, name := range []string{"var/cache/dnf", "var/cache/yum", "var/cache/libdnf5"} {
				if err := root.RemoveAll(name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// rpmMacros put the database of packages where the installed system looks for it. Debian's
// rpm would keep it in the home directory; that of other systems knows better.
func rpmMacros() string {
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		return ""
	}
	return "%_var /var\n%_dbpath %{_var}/lib/rpm\n"
}

func repository(name, url, key string) string {
	text := "\n[" + name + "]\nname=" + name + "\nbaseurl=" + url + "\nenabled=1\n"
	if key == "" {
		return text + "gpgcheck=0\n"
	}
	return text + "gpgcheck=1\ngpgkey=file://" + key + "\n"
}

// zypper installs openSUSE.
func zypper(h *header, dir string) plan {
	for _, key := range []string{"product", "user", "regcode", "registerurl", "modules", "productpgp"} {
		if h.Value(key) != "" {
			h.failf(key, "systems that have to be registered (SUSE Linux Enterprise) can't be installed: "+
				"begin with an image of SUSE's registry, as in \"Bootstrap: docker\"")
		}
	}
	h.need("mirrorurl", "http://download.opensuse.org/distribution/leap/%{OSVERSION}/repo/oss/")
	version := h.word("osversion", rpmVersion())
	packages := append([]string{"aaa_base"}, h.words("include", rpmPackage())...)
	key := h.path("keyring")
	base := []string{"--non-interactive", "--root", dir}
	if version != "" {
		base = append(base, "--releasever="+version)
	}
	if key == "" {
		base = append(base, "--gpg-auto-import-keys", "--no-gpg-checks") // of repositories that are not signed, too
	}
	with := func(args ...string) command {
		return command{
			tools: []tool{{"zypper", append(slices.Clip(base), args...)}}, install: "apt-get install zypper, or zypper install zypper",
		}
	}
	p := plan{files: map[string]string{".rpmmacros": rpmMacros()}, warnings: h.unverified(key)}
	if key != "" {
		p.commands = append(p.commands, command{
			tools:   []tool{{"rpmkeys", []string{"--root", dir, "--import", key}}},
			install: "apt-get install rpm",
		})
	}
	names := map[string]string{"repo": h.mirror("mirrorurl", version), "update": h.mirror("updateurl", version)}
	order := []string{"repo", "update"}
	for _, k := range h.Header {
		if strings.HasPrefix(k.Name, "otherurl") {
			names[k.Name] = h.mirror(k.Name, version)
			order = append(order, k.Name)
		}
	}
	for _, name := range order {
		if names[name] != "" {
			p.commands = append(p.commands, with("addrepo", "--refresh", names[name], name))
		}
	}
	install := with(append([]string{"install", "--auto-agree-with-licenses", "--download-in-advance", "--no-recommends"}, packages...)...)
	install.accepts = scriptsFailed
	p.commands = append(p.commands, with("refresh"), install)
	p.finish = func(_ context.Context, root *os.Root) error { return root.RemoveAll("var/cache/zypp") }
	return p
}

// scriptsFailed is how zypper ends when packages are installed and some of their scripts
// did not like it there.
const scriptsFailed = 107
