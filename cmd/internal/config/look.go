package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/selinux"
)

// look checks what the settings point to on this machine. Wrong is what would keep
// something from working, idle what will have no effect.
func (c *Config) look(at places) (wrong, idle Problems) {
	look(c, Defaults(), settings(), "", at, &wrong, &idle)
	usual := DefaultHandler()
	for _, name := range handlerNames(c) {
		h := c.Handlers[name]
		look(&h, &usual, handlerSettings(), handlersTable+"."+name+".", at, &wrong, &idle)
	}
	return append(wrong, c.lookParent(at)...), slices.Concat(idle, c.lookBridge(at), c.lookCNI(at), c.lookNRI(at), c.lookSELinux(at))
}

// look leaves out what is wrong in itself, and what is there by default: that may be
// missing without a word.
func look[T any](c, usual *T, all []setting[T], above string, at places, wrong, idle *Problems) {
	for _, s := range all {
		for _, text := range s.texts(c) {
			if s.kind.look == nil || text == "" || s.kind.check != nil && s.kind.check(text) != nil {
				continue
			}
			f := s.kind.look(text)
			if f.wrong != "" {
				*wrong = append(*wrong, Problem{at.of(above + s.name), above + s.name + ": " + text + ": " + f.wrong})
			}
			if f.idle != "" && !slices.Contains(s.texts(usual), text) {
				*idle = append(*idle, Problem{at.of(above + s.name), above + s.name + ": " + text + ": " + f.idle})
			}
		}
	}
}

// lookMade looks at a directory that the agent makes if it is missing.
func lookMade(path string) finding {
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return finding{wrong: dir + " is not a directory"}
		case err == nil:
			return finding{}
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return finding{wrong: err.Error()}
		}
	}
}

// lookSocket looks at where a socket is made, in place of an older one.
func lookSocket(name string) finding {
	path := strings.TrimPrefix(name, "unix://")
	if info, err := os.Stat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return finding{wrong: "is there, and is no socket"}
	}
	return lookMade(filepath.Dir(path))
}

// lookDirectory looks at one that somebody else makes.
func lookDirectory(path string) finding {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{idle: "there is no such directory"}
	case err != nil:
		return finding{wrong: err.Error()}
	case !info.IsDir():
		return finding{wrong: "is not a directory"}
	}
	return finding{}
}

func lookCredentials(path string) finding {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{idle: "there is no such file yet, so there are no credentials in it"}
	case err != nil:
		return finding{wrong: err.Error()}
	case len(bytes.TrimSpace(text)) > 0 && !json.Valid(text):
		return finding{wrong: "is not JSON; want a file such as Docker's config.json"}
	}
	return finding{}
}

func lookPolicy(path string) finding {
	if err := (setup.Sources{Policy: path, PolicyNamed: true}).Trust(nil).Err(); err != nil {
		return finding{wrong: err.Error()}
	}
	return finding{}
}

// lookAddress makes sure that the machine has the address.
func lookAddress(text string) finding {
	host, _, err := net.SplitHostPort(text)
	ip := net.ParseIP(host)
	if err != nil || ip == nil || ip.IsUnspecified() {
		return finding{}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return finding{}
	}
	for _, one := range all {
		if have, ok := one.(*net.IPNet); ok && (have.IP.Equal(ip) || ip.IsLoopback() && have.Contains(ip)) {
			return finding{}
		}
	}
	return finding{wrong: fmt.Sprintf("this machine has no address %s", ip)}
}

// lookLink makes sure that the built-in bridge takes no link that is something else.
func lookLink(name string) finding {
	const links = "/sys/class/net/"
	if _, err := os.Stat(links + name); err != nil {
		return finding{} // it will be made
	}
	if _, err := os.Stat(links + name + "/bridge"); err != nil {
		return finding{wrong: "this machine has such a link, which is no bridge"}
	}
	return finding{}
}

// lookDriver makes sure that systemd is there if it is to make cgroups.
func lookDriver(driver string) finding {
	if driver == "systemd" && !bySystemd() {
		return finding{wrong: "this machine is not run by systemd, or its cgroups are not v2; want cgroupfs or auto"}
	}
	return finding{}
}

// bySystemd says whether systemd makes cgroups where nobody says who is to.
func bySystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	_, v1 := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil && info.IsDir() && v1 == nil
}

// lookParent says when auto makes the driver systemd, and the parent is not for that.
func (c *Config) lookParent(at places) Problems {
	if c.CgroupDriver != "auto" {
		return nil
	}
	if slice := isSlice(c.CgroupParent); !bySystemd() {
		if slice && c.CgroupParent != "" && !filepath.IsAbs(c.CgroupParent) {
			return Problems{{at.of("cgroup_parent"), "cgroup_parent: " + c.CgroupParent +
				": systemd does not run this machine, or its cgroups are not v2, so this must be a path, such as /siflet"}}
		}
		return nil
	} else if slice {
		return nil
	}
	return Problems{{at.of("cgroup_parent"), "cgroup_parent: " + c.CgroupParent +
		": systemd runs this machine, so this must be a slice, such as siflet.slice; or say cgroup_driver = \"cgroupfs\""}}
}

// lookBridge says when the built-in bridge is not used.
func (c *Config) lookBridge(at places) Problems {
	usual := Defaults()
	if c.Bridge == usual.Bridge && fmt.Sprint(c.Subnets) == fmt.Sprint(usual.Subnets) {
		return nil
	}
	switch c.Network {
	case "bridge":
		return nil
	case "cni":
		return Problems{{at.of("bridge"), "bridge and subnet: with network = \"cni\" the built-in bridge is not used"}}
	}
	for _, pattern := range []string{"*.conf", "*.conflist", "*.json"} {
		if found, _ := filepath.Glob(filepath.Join(c.CNIConfDir, pattern)); len(found) > 0 {
			return Problems{{at.of("bridge"), "bridge and subnet: CNI configuration is in use (" + found[0] + "), so the built-in bridge is not"}}
		}
	}
	return nil
}

// lookCNI says when the keys of CNI are not used.
func (c *Config) lookCNI(at places) (idle Problems) {
	if c.Network != "bridge" {
		return nil
	}
	return c.unused(at, `with network = "bridge" CNI is not used; leave the key out, or say network = "auto"`, "cni_conf_dir", "cni_bin_dir", "cni_timeout")
}

// lookNRI says when the keys of NRI are not used.
func (c *Config) lookNRI(at places) (idle Problems) {
	if len(c.NRI.RequiredPlugins) == 0 {
		idle = c.unused(at, "no NRI plugin is required; leave the key out, or name some: nri_required_plugins", "nri_tolerate_missing_annotation")
	}
	if c.NRI.On {
		return idle
	}
	return append(idle, c.unused(at, "with nri = false there are no NRI plugins; leave the key out, or say nri = true",
		"nri_socket", "nri_plugin_path", "nri_plugin_config_path", "nri_registration_timeout", "nri_request_timeout", "nri_disable_connections", "nri_reject")...)
}

// lookSELinux says when nothing is labelled.
func (c *Config) lookSELinux(at places) Problems {
	switch {
	case !c.EnableSELinux:
		return c.unused(at, "without enable_selinux = true nothing is labelled", "selinux_category_range")
	case !selinux.Supported():
		return Problems{{at.of("enable_selinux"), "enable_selinux: the kernel runs without SELinux, or /sys/fs/selinux is not mounted: nothing is labelled"}}
	}
	return nil
}

// unused are those of the keys that are not as by default.
func (c *Config) unused(at places, why string, names ...string) (idle Problems) {
	usual := Defaults()
	for _, s := range settings() {
		if slices.Contains(names, s.name) && s.write(c) != s.write(usual) {
			idle = append(idle, Problem{at.of(s.name), s.name + ": " + why})
		}
	}
	return idle
}

func lookProfile(name string) finding {
	path, local := strings.CutPrefix(name, "localhost/")
	if !local {
		return finding{}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return finding{wrong: err.Error()}
	}
	const newest = 99 // a kernel for which every rule counts
	profile, err := plan.ParseProfile(text, plan.Kernel{Arch: goruntime.GOARCH, Major: newest}, nil)
	if err == nil {
		_, err = plan.Compile(profile)
	}
	if err != nil {
		return finding{wrong: err.Error()}
	}
	return finding{}
}

func lookProgram(path string) finding {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return finding{wrong: unwrapPath(err)}
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return finding{wrong: "is not a program"}
	}
	return finding{}
}

func unwrapPath(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}
