package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/program"
)

// place is where the command was called: what the default mounts follow.
type place struct {
	home string // of the user
	cwd  string
	user *user.User
}

func here() (place, error) {
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "/"
	}
	who, err := user.Current()
	if err != nil {
		return place{}, fmt.Errorf("find the current user: %w", err)
	}
	return place{home: who.HomeDir, cwd: cwd, user: who}, nil
}

// homeTarget is the home directory as the container sees it.
func (o *actionOptions) homeTarget() string {
	if o.home != "" {
		parts := splitEscaped(o.home, ':')
		return parts[len(parts)-1]
	}
	if who, err := user.Current(); err == nil {
		return who.HomeDir
	}
	return "/"
}

// container turns the flags into a container, but for what it runs.
func (o *actionOptions) container(image string, p place, ownPID bool) (runtime.ContainerSpec, error) {
	spec := runtime.ContainerSpec{
		Name: "main", Image: image, ImageReference: image, NoDefaultMounts: true,
		Security: runtime.Security{
			Seccomp: "unconfined", MaskedPaths: []string{}, ReadonlyPaths: []string{},
			User: program.User{Keep: true}, AllCaps: !o.noPrivs,
			AddCaps: o.addCaps, DropCaps: o.dropCaps, HostDev: !o.contain,
		},
		Upper: runtime.UpperNone,
		PID:   runtime.ModeHost,
	}
	if o.noPrivs {
		spec.Security.DropCaps = []string{"ALL"}
	}
	if err := o.layers(&spec); err != nil {
		return spec, err
	}
	var err error
	if spec.Resources, err = o.resources(); err != nil {
		return spec, err
	}
	if o.noUmask {
		umask := uint32(0o022)
		spec.Umask = &umask
	}
	o.workingDirectory(&spec, p)
	if err := o.defaultMounts(&spec, p, ownPID); err != nil {
		return spec, err
	}
	o.configFiles(&spec, p)
	return spec, o.userMounts(&spec)
}

// layers says what carries the changes to the root.
func (o *actionOptions) layers(spec *runtime.ContainerSpec) error {
	if o.writableTmpfs {
		spec.Upper = runtime.UpperTmpfs
	}
	if len(o.overlays) > 1 {
		return usageError{text: "--overlay: one directory is supported"}
	}
	for _, overlay := range o.overlays {
		dir, mode, _ := strings.Cut(overlay, ":")
		abs, err := hostPath(dir)
		if err != nil {
			return err
		}
		stat, err := os.Stat(abs)
		if err != nil {
			return fmt.Errorf("overlay %s: %w; make the directory first", abs, unwrapPath(err))
		}
		if !stat.IsDir() {
			return fmt.Errorf("overlay %s: not a directory; overlay image files are not supported, give a directory", abs)
		}
		if o.writableTmpfs {
			return usageError{text: "--overlay and --writable-tmpfs can't be used together"}
		}
		spec.Upper, spec.Overlay = runtime.UpperDir, abs
		spec.Security.ReadonlyRoot = mode == "ro"
	}
	if spec.Upper == runtime.UpperNone {
		spec.Security.ReadonlyRoot = true
	}
	return nil
}

func (o *actionOptions) workingDirectory(spec *runtime.ContainerSpec, p place) {
	home := o.homeTarget()
	switch {
	case o.cwd != "":
		spec.Cwd = o.cwd
		return
	case o.contain:
		spec.Cwd = home
	default:
		spec.Cwd = p.cwd
	}
	spec.CwdFallback = []string{home, "/"}
}

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
	if o.contain {
		o.minimalDev(spec, add)
	} else {
		bind("dev", "/dev")
	}
	for _, path := range []string{"/etc/localtime", "/etc/hosts"} {
		bind("bind-paths", path)
	}
	if err := o.homeMount(spec, p, add); err != nil {
		return err
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
			add("tmp", runtime.Mount{Type: "tmpfs", Target: path, Data: "mode=1777,size=64m", NoSuid: true, NoDev: true})
		}
	}
	if !o.contain && p.cwd != p.home && !systemDirectory(p.cwd) {
		bind("cwd", p.cwd)
	}
	return nil
}

// minimalDev is the /dev of --contain.
func (o *actionOptions) minimalDev(spec *runtime.ContainerSpec, add func(string, runtime.Mount)) {
	if o.left("dev") {
		return
	}
	add("dev", runtime.Mount{Type: "tmpfs", Target: "/dev", Data: "mode=755,size=64m", NoSuid: true})
	add("devpts", runtime.Mount{Type: "devpts", Target: "/dev/pts", Data: "newinstance,ptmxmode=0666,mode=0620,gid=5", NoSuid: true, NoExec: true})
	add("dev", runtime.Mount{Type: "tmpfs", Target: "/dev/shm", Data: "mode=1777,size=64m", NoSuid: true, NoDev: true})
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

func (o *actionOptions) homeMount(spec *runtime.ContainerSpec, p place, add func(string, runtime.Mount)) error {
	if o.noHome {
		return nil
	}
	source, target := p.home, p.home
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
	case o.contain && o.workdir != "":
		dir, err := o.workdirEntry("home", 0o750)
		if err != nil {
			return err
		}
		add("home", runtime.Mount{Source: dir, Target: target})
	case o.contain && !strings.Contains(o.home, ":"):
		add("home", runtime.Mount{Type: "tmpfs", Target: target, Data: "mode=750,size=64m", NoSuid: true, NoDev: true})
	case o.home != "":
		if err := sourceExists(source); err != nil {
			return err
		}
		add("home", runtime.Mount{Source: source, Target: target})
	case target != "/":
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
			spec.Mounts = append(spec.Mounts, runtime.Mount{Type: "tmpfs", Target: target, Data: "mode=1777,size=64m", NoSuid: true, NoDev: true})
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
	spec.Accounts = &program.Accounts{
		Passwd: strings.Join([]string{p.user.Username, "x", p.user.Uid, p.user.Gid, p.user.Name, o.homeTarget(), "/bin/sh"}, ":"),
	}
	groups, err := p.user.GroupIds()
	if err != nil {
		groups = []string{p.user.Gid}
	}
	for _, id := range groups {
		if group, err := user.LookupGroupId(id); err == nil {
			spec.Accounts.Groups = append(spec.Accounts.Groups, group.Name+":x:"+id+":"+p.user.Username)
		}
	}
	if len(o.dns) > 0 {
		var text strings.Builder
		for _, server := range o.dns {
			text.WriteString("nameserver " + strings.TrimSpace(server) + "\n")
		}
		spec.Files = append(spec.Files, program.File{Target: "/etc/resolv.conf", Data: text.String(), Mode: 0o644})
	} else if !o.left("bind-paths") {
		spec.Mounts = append(spec.Mounts, runtime.Mount{Source: "/etc/resolv.conf", Target: "/etc/resolv.conf", Optional: true})
	}
	if o.hostname != "" {
		spec.Files = append(spec.Files, program.File{Target: "/etc/hostname", Data: o.hostname + "\n", Mode: 0o644})
	}
}

// systemDirectory lists the working directories that are the image's own
// affair: binding them would hide what the image brings.
func systemDirectory(path string) bool {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/.singularity.d", "/scif"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return slices.Contains([]string{"/", "/mnt", "/var", "/opt", "/srv", "/run", "/home", "/tmp", "/var/tmp"}, path) ||
		strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/var/tmp/")
}

// portmaps reads --network-args.
func (o *actionOptions) portmaps() (pairs [][3]string, err error) {
	for _, arg := range o.networkArgs {
		for _, word := range strings.Split(arg, ";") {
			key, value, _ := strings.Cut(word, "=")
			if key != "portmap" {
				return nil, usageError{text: fmt.Sprintf("--network-args %q: %q is not known; want portmap=HOST:CONTAINER/tcp", arg, key)}
			}
			ports, protocol, _ := strings.Cut(value, "/")
			host, container, two := strings.Cut(ports, ":")
			if protocol == "" {
				protocol = "tcp"
			}
			if !two || !validPort(host) || !validPort(container) || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
				return nil, usageError{text: fmt.Sprintf("--network-args %q: want portmap=HOST:CONTAINER/tcp with ports from 1 to 65535", arg)}
			}
			pairs = append(pairs, [3]string{host, container, protocol})
		}
	}
	return pairs, nil
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
