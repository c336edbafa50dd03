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
	"strings"

	"github.com/siflet/siflet/cmd/internal/setup"
)

// look checks what the settings point to on this machine. Wrong is what would keep
// something from working, idle what will have no effect.
func (c *Config) look(at places) (wrong, idle Problems) {
	look(c, settings(), "", at, &wrong, &idle)
	for _, name := range handlerNames(c) {
		h := c.Handlers[name]
		look(&h, handlerSettings(), handlersTable+"."+name+".", at, &wrong, &idle)
	}
	return wrong, append(idle, c.lookBridge(at)...)
}

func look[T any](c *T, all []setting[T], above string, at places, wrong, idle *Problems) {
	for _, s := range all {
		for _, text := range s.texts(c) {
			if s.kind.look == nil || text == "" {
				continue
			}
			f := s.kind.look(text)
			if f.wrong != "" {
				*wrong = append(*wrong, Problem{at.of(above + s.name), above + s.name + ": " + text + ": " + f.wrong})
			}
			if f.idle != "" {
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

// lookHosts looks at settings of registries. Those that are read by default may be
// missing without a word.
func lookHosts(path string) finding {
	f := lookDirectory(path)
	for _, usual := range Defaults().RegistryHosts {
		if path == usual {
			f.idle = ""
		}
	}
	return f
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

func lookProfile(text string) finding {
	path, local := strings.CutPrefix(text, "localhost/")
	if !local {
		return finding{}
	}
	profile, err := os.ReadFile(path)
	switch {
	case err != nil:
		return finding{wrong: err.Error()}
	case !json.Valid(profile):
		return finding{wrong: "is not JSON; want a seccomp profile"}
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
