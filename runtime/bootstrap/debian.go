package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

func debianSuite() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9./-]*$`) }

func debianPackage() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+)?$`)
}

func debianWord() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9/-]*$`) }

// debian installs Debian, Ubuntu and their kin.
func debian(h *header, dir string) plan {
	mirror := h.url("mirrorurl", h.need("mirrorurl", "http://deb.debian.org/debian"), "http", "https", "ftp", "file")
	h.need("osversion", "bookworm")
	suite := h.word("osversion", debianSuite())
	packages := h.words("include", debianPackage())
	variant := h.word("variant", debianWord())
	if variant == "" {
		variant = "minbase"
	}
	components := h.words("components", debianWord())
	keyring := h.path("keyring")

	common := []string{"--variant=" + variant}
	if keyring != "" {
		common = append(common, "--keyring="+keyring)
	}
	if len(components) > 0 {
		common = append(common, "--components="+strings.Join(components, ","))
	}
	quick, classic := slices.Clone(common), slices.Clone(common)
	if h.confined {
		quick = append(quick, confinedMounts()...)
	}
	if arch := debianArch(h.arch); arch != "" {
		quick, classic = append(quick, "--architectures="+arch), append(classic, "--arch="+arch)
	}
	if len(packages) > 0 {
		quick, classic = append(quick, "--include="+strings.Join(packages, ",")), append(classic, "--include="+strings.Join(packages, ","))
	}
	// Those are of no use in a container.
	classic = append(classic, "--exclude=openssl,udev,debconf-i18n,e2fsprogs")
	return plan{
		commands: []command{{
			tools: []tool{
				{"mmdebstrap", append(quick, "--quiet", "--format=directory", "--", suite, dir, mirror)},
				{"debootstrap", append(classic, suite, dir, mirror)},
			},
			install: "apt-get install mmdebstrap",
		}},
		finish: func(ctx context.Context, root *os.Root) error {
			for _, dir := range []string{"var/cache/apt/archives", "var/lib/apt/lists"} {
				if err := removeFiles(root, dir); err != nil {
					return err
				}
			}
			return forgetHost(ctx, root)
		},
	}
}

// confinedMounts have mmdebstrap take this machine's directories of the kernel as they are: in
// a user namespace it can't mount others, nor make device nodes.
func confinedMounts() []string {
	each := func(do string) string { return "for d in dev proc sys; do " + do + " || exit 1; done" }
	return []string{
		"--skip=chroot/mount",
		"--extract-hook=" + each(`mkdir -p "$1/$d" && mount --rbind "/$d" "$1/$d" && mount --make-rslave "$1/$d"`),
		"--customize-hook=" + each(`umount -l "$1/$d"`),
	}
}

// removeFiles removes the files of a directory, which need not be there.
func removeFiles(root *os.Root, dir string) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err == nil && e.Type().IsRegular() {
			err = root.Remove(path.Join(dir, e.Name()))
		}
	}
	return err
}

// forgetHost takes away what says on which machine the system was installed.
func forgetHost(_ context.Context, root *os.Root) error {
	for _, name := range []string{"etc/hostname", "etc/resolv.conf"} {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// debianArch is Debian's name of an architecture, empty for that of this machine.
func debianArch(goarch string) string {
	switch goarch {
	case "386":
		return "i386"
	case "arm":
		return "armhf"
	case "ppc64le":
		return "ppc64el"
	case "mipsle":
		return "mipsel"
	case "mips64le":
		return "mips64el"
	}
	return goarch
}
