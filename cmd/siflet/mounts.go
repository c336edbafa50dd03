package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/program"
)

// left says whether --no-mount leaves a mount out.
func (o *actionOptions) left(name string) bool { return slices.Contains(o.noMount, name) }

func (o *actionOptions) defaultMounts(spec *runtime.ContainerSpec, p place, ownPID bool) error {
	add := func(name string, mount runtime.Mount) {
		if !o.left(name) && !o.left(mount.Target) {
			spec.Mounts = append(spec.Mounts, mount)
		}
	}
	bind := func(name, path string) {
		add(name, runtime.Mount{Source: path, Target: path, Optional: true})
	}
	if ownPID {
		add("proc", runtime.Mount{Type: "proc", Target: "/proc", NoSuid: true, NoDev: true, NoExec: true})
	} else {
		bind("proc", "/proc")
	}
	bind("sys", "/sys")
	if o.contain || o.site.MountDev == "minimal" {
		o.minimalDev(spec, add)
	} else {
		bind("dev", "/dev")
	}
	for _, entry := range o.site.BindPath {
		source, target, found := strings.Cut(entry, ":")
		if !found {
			target = source
		}
		add("bind-paths", runtime.Mount{Source: source, Target: target, Optional: true})
	}
	for _, path := range []string{"/tmp", "/var/tmp"} {
		switch {
		case !o.contain:
			bind("tmp", path)
		case o.workdir != "":
			dir, err := o.workdirEntry(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_"), 0o1777)
			if err != nil {
				return err
			}
			add("tmp", runtime.Mount{Source: dir, Target: path})
		default:
			add("tmp", runtime.Mount{Type: "tmpfs", Target: path, Data: "mode=1777," + o.room(), NoSuid: true, NoDev: true})
		}
	}
	// Some homes are in there.
	if err := o.homeMount(p, add); err != nil {
		return err
	}
	if !o.contain && o.site.UserBindControl && !within(p.cwd, p.home) && !systemDirectory(p.cwd) {
		bind("cwd", p.cwd)
	}
	return nil
}

// minimalDev is the /dev of --contain.
func (o *actionOptions) minimalDev(spec *runtime.ContainerSpec, add func(string, runtime.Mount)) {
	if o.left("dev") {
		return
	}
	add("dev", runtime.Mount{Type: "tmpfs", Target: "/dev", Data: "mode=755," + o.room(), NoSuid: true})
	add("devpts", runtime.Mount{Type: "devpts", Target: "/dev/pts", Data: "newinstance,ptmxmode=0666,mode=0620,gid=5", NoSuid: true, NoExec: true})
	add("dev", runtime.Mount{Type: "tmpfs", Target: "/dev/shm", Data: "mode=1777," + o.room(), NoSuid: true, NoDev: true})
	mode := os.FileMode(0o666)
	for _, device := range []struct {
		path         string
		major, minor int64
	}{
		{"/dev/null", 1, 3},
		{"/dev/zero", 1, 5},
		{"/dev/full", 1, 7},
		{"/dev/random", 1, 8},
		{"/dev/urandom", 1, 9},
		{"/dev/tty", 5, 0},
	} {
		spec.Devices = append(spec.Devices, specs.LinuxDevice{
			Path: device.path, Type: "c", Major: device.major, Minor: device.minor, FileMode: &mode,
		})
	}
}

func (o *actionOptions) homeMount(p place, add func(string, runtime.Mount)) error {
	if o.noHome {
		return nil
	}
	source, target := p.home, o.feigned(p.user).HomeDir
	if o.home != "" {
		parts := splitEscaped(o.home, ':')
		if len(parts) > 2 || !filepath.IsAbs(parts[len(parts)-1]) {
			return usageError{text: fmt.Sprintf("--home %q: want SRC[:DEST] with an absolute DEST", o.home)}
		}
		source, target = parts[0], parts[len(parts)-1]
		abs, err := hostPath(source)
		if err != nil {
			return err
		}
		source = abs
	}
	switch {
	case o.home == "" && target == "/": // who has none has the root directory
	case o.contain && o.workdir != "":
		dir, err := o.workdirEntry("home", 0o750)
		if err != nil {
			return err
		}
		add("home", runtime.Mount{Source: dir, Target: target})
	case o.contain && !strings.Contains(o.home, ":"):
		add("home", runtime.Mount{Type: "tmpfs", Target: target, Data: "mode=750," + o.room(), NoSuid: true, NoDev: true})
	case o.home != "":
		if err := sourceExists(source); err != nil {
			return err
		}
		add("home", runtime.Mount{Source: source, Target: target})
	default:
		add("home", runtime.Mount{Source: source, Target: target, Optional: true})
	}
	return nil
}

// workdirEntry makes a directory below --workdir.
func (o *actionOptions) workdirEntry(name string, mode os.FileMode) (string, error) {
	base, err := hostPath(o.workdir)
	if err != nil {
		return "", err
	}
	if stat, err := os.Stat(base); err != nil {
		return "", fmt.Errorf("workdir %s: %w; make the directory first", base, unwrapPath(err))
	} else if !stat.IsDir() {
		return "", fmt.Errorf("workdir %s: not a directory", base)
	}
	dir := filepath.Join(base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("workdir %s: %w", dir, unwrapPath(err))
	}
	// MkdirAll obeys the umask; /tmp must not.
	if err := os.Chmod(dir, mode.Perm()|sticky(mode)); err != nil {
		return "", fmt.Errorf("workdir %s: %w", dir, unwrapPath(err))
	}
	return dir, nil
}

func sticky(mode os.FileMode) os.FileMode {
	if mode&0o1000 != 0 {
		return os.ModeSticky
	}
	return 0
}

// userMounts adds scratch directories, binds and mounts, last so that they win.
func (o *actionOptions) userMounts(spec *runtime.ContainerSpec) error {
	for _, target := range o.scratch {
		if !filepath.IsAbs(target) {
			return usageError{text: fmt.Sprintf("--scratch %q must be an absolute path", target)}
		}
		if o.workdir == "" {
			spec.Mounts = append(spec.Mounts, runtime.Mount{Type: "tmpfs", Target: target, Data: "mode=1777," + o.room(), NoSuid: true, NoDev: true})
			continue
		}
		dir, err := o.workdirEntry(filepath.Join("scratch", target), 0o1777)
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, runtime.Mount{Source: dir, Target: target})
	}
	binds, err := parseBinds(o.binds)
	if err != nil {
		return err
	}
	mounts, err := parseMounts(o.mounts)
	if err != nil {
		return err
	}
	spec.Mounts = append(spec.Mounts, append(binds, mounts...)...)
	return nil
}

// configFiles are what the container finds in /etc of its user, its name and
// its name servers.
func (o *actionOptions) configFiles(spec *runtime.ContainerSpec, p place) {
	who := o.feigned(p.user)
	spec.Accounts = &program.Accounts{}
	if o.site.ConfigPasswd {
		spec.Accounts.Passwd = strings.Join([]string{who.Username, "x", who.Uid, who.Gid, who.Name, o.homeTarget(), "/bin/sh"}, ":")
	}
	groups, err := who.GroupIds()
	if err != nil || o.feigns() {
		groups = []string{who.Gid}
	}
	if o.site.ConfigGroup {
		names := accounts.GroupNames(groups)
		for _, id := range groups {
			if name := names[id]; name != "" {
				spec.Accounts.Groups = append(spec.Accounts.Groups, name+":x:"+id+":"+who.Username)
			}
		}
	}
	resolver, differs := o.userResolver()
	if len(o.dns) > 0 {
		var text strings.Builder
		for _, server := range o.dns {
			text.WriteString("nameserver " + strings.TrimSpace(server) + "\n")
		}
		spec.Files = append(spec.Files, program.File{Target: "/etc/resolv.conf", Data: text.String(), Mode: 0o644})
	} else if differs && o.site.ConfigResolvConf {
		spec.Files = append(spec.Files, program.File{Target: "/etc/resolv.conf", Data: resolver, Mode: 0o644})
	} else if !o.left("bind-paths") && o.site.ConfigResolvConf {
		spec.Mounts = append(spec.Mounts, runtime.Mount{Source: "/etc/resolv.conf", Target: "/etc/resolv.conf", Optional: true})
	}
	if o.hostname != "" {
		spec.Files = append(spec.Files, program.File{Target: "/etc/hostname", Data: o.hostname + "\n", Mode: 0o644})
	}
}

// systemDirectory lists the working directories that are the image's own
// affair: binding them would hide what the image brings.
func systemDirectory(path string) bool {
	for _, dir := range []string{
		"/dev", "/proc", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/.singularity.d", "/scif", "/tmp", "/var/tmp",
	} {
		if within(path, dir) {
			return true
		}
	}
	return slices.Contains([]string{"/", "/mnt", "/var", "/opt", "/srv", "/run", "/home"}, path)
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
