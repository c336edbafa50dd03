package bootstrap

import "regexp"

func archPackage() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9@_+][a-z0-9@._+-]*$`) }

// arch installs Arch Linux.
func arch(h *header, dir string) plan {
	mirror := h.Value("mirrorurl")
	if mirror == "" {
		mirror = "https://geo.mirror.pkgbuild.com/$repo/os/$arch"
	}
	mirror = h.url("mirrorurl", mirror, "http", "https", "ftp", "file")
	packages := append([]string{"base"}, h.words("include", archPackage())...)
	config := "[options]\nHoldPkg = pacman glibc\nArchitecture = auto\nSigLevel = Required DatabaseOptional\nLocalFileSigLevel = Optional\n" +
		"\n[core]\nServer = " + mirror + "\n\n[extra]\nServer = " + mirror + "\n"
	chroot := func(args ...string) command {
		return command{tools: []tool{{"arch-chroot", append([]string{dir}, args...)}}, install: "apt-get install arch-install-scripts"}
	}
	return plan{
		files: map[string]string{"pacman.conf": config},
		commands: []command{
			{
				tools:   []tool{{"pacstrap", append([]string{"-C", h.temp + "/pacman.conf", "-c", "-G", "-M", dir}, packages...)}},
				install: "apt-get install arch-install-scripts pacman-package-manager archlinux-keyring",
			},
			chroot("pacman-key", "--init"),
			chroot("pacman-key", "--populate", "archlinux"),
		},
		finish: forgetHost,
	}
}
