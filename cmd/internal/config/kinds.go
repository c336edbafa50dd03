package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/plan"
)

// oneOf are words to choose from.
func oneOf(words ...string) kind {
	last := len(words) - 1
	list := strings.Join(words[:last], ", ") + " or " + words[last]
	return kind{name: list, check: func(text string) error {
		if slices.Contains(words, text) {
			return nil
		}
		return errors.New("want " + list)
	}}
}

// absolute is the check of a path that is like example.
func absolute(example string) func(text string) error {
	return func(text string) error {
		if !isAbsolute(text) {
			return errors.New("want an absolute path, such as " + example)
		}
		return nil
	}
}

func isAbsolute(text string) bool { return filepath.IsAbs(text) && !strings.ContainsRune(text, 0) }

// directory is one that must be there once it is looked for.
func directory(look func(string) finding) kind {
	return kind{name: "directory", check: absolute("/etc/siflet"), look: look}
}

// place is a directory that is made, and may be named from where a person is on the
// command line.
func place() kind {
	k := directory(lookMade)
	k.fromHere = true
	return k
}

// file is one that somebody names, as example does.
func file(example string, look func(string) finding) kind {
	return kind{name: "file", look: look, fromHere: true, check: func(text string) error {
		if text == "" {
			return errors.New("want a file; without one, leave the setting out")
		}
		return absolute(example)(text)
	}}
}

func socket() kind {
	return kind{name: "unix:// and a path", look: lookSocket, check: func(text string) error {
		if path, ok := strings.CutPrefix(text, "unix://"); text != "" && (!ok || !isAbsolute(path)) {
			return errors.New("want unix:///path, such as unix:///run/siflet/siflet.sock")
		}
		return nil
	}}
}

// address is a host and a port.
func address(example string) kind {
	return kind{name: "address and port", look: lookAddress, check: func(text string) error {
		_, port, err := net.SplitHostPort(text)
		if err != nil {
			return errors.New("want an address such as " + example)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%q is no port number; want an address such as %s", port, example)
		}
		return nil
	}}
}

// webAddress is that of a server of HTTP, with a path or without.
func webAddress(example string) kind {
	return kind{name: "http:// or https:// and an address", check: func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return errors.New("want an address such as " + example)
		}
		return nil
	}}
}

// optional takes an empty text, too.
func optional(k kind) kind {
	check := k.check
	k.check = func(text string) error {
		if text == "" {
			return nil
		}
		return check(text)
	}
	return k
}

// ownAddress is one to listen on that others are told.
func ownAddress(example string) kind {
	k := address(example)
	check := k.check
	k.check = func(text string) error {
		if err := check(text); err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(text) // as checked
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			return fmt.Errorf("%q is no IP address; to listen on all of them say 0.0.0.0 or [::]", host)
		}
		return nil
	}
	return k
}

func prefix() kind {
	return kind{name: "range of addresses", check: func(text string) error {
		const least = 2 // bits for two hosts, the network's own address and that for all
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return errors.New("want a range such as 10.213.0.0/16")
		}
		if p.Addr().BitLen()-p.Bits() < least {
			return errors.New("want a range with room for two hosts, such as 10.213.0.0/16")
		}
		return nil
	}}
}

func cgroup() kind {
	return kind{name: "path of a cgroup", check: func(text string) error {
		if strings.ContainsRune(text, 0) || slices.Contains(strings.Split(text, "/"), "..") {
			return errors.New("want the path of a cgroup, such as /siflet")
		}
		return nil
	}}
}

func linkName() kind {
	return kind{name: "name of a network link", look: lookLink, check: func(text string) error {
		const most = 15
		if text == "" || len(text) > most || strings.ContainsAny(text, "/: \t\n\v\f\r\x00") || text == "." || text == ".." {
			return fmt.Errorf("want a name of 1 to %d bytes without a slash, a colon or a blank", most)
		}
		return nil
	}}
}

// seccomp is a profile by the names that Kubernetes had for them.
func seccomp() kind {
	return kind{name: "runtime/default, unconfined or localhost/ and a file", look: lookProfile, check: func(text string) error {
		path, local := strings.CutPrefix(text, "localhost/")
		if text == "runtime/default" || text == "unconfined" || local && isAbsolute(path) {
			return nil
		}
		return errors.New("want runtime/default, unconfined, or localhost/ and the absolute path of a profile, such as localhost//etc/siflet/profile.json")
	}}
}

func defaultCapabilities() []string {
	caps, _ := plan.Capabilities(plan.Security{}) // no name that could be wrong
	return caps.Bounding
}

func capability() kind {
	return kind{name: "names of capabilities", check: func(text string) error {
		if _, err := plan.Capabilities(plan.Security{AddCaps: []string{text}}); err != nil || strings.EqualFold(strings.TrimPrefix(text, "CAP_"), "all") {
			return errors.New("want the name of a capability, such as CAP_NET_RAW")
		}
		return nil
	}}
}

// executable is a program, which is looked for when it is needed.
func executable() kind {
	return kind{name: "program", check: absolute("/usr/bin/crun"), look: lookProgram}
}

// word is a name that others choose.
func word(name, example string) kind {
	return kind{name: name, check: func(text string) error {
		if text == "" || strings.ContainsAny(text, " \t\n\v\f\r\x00,") {
			return fmt.Errorf("want the %s, such as %s", name, example)
		}
		return nil
	}}
}

func pattern(text string) error {
	if _, err := path.Match(text, ""); err != nil || text == "" {
		return errors.New("want a name, with * for any letters")
	}
	return nil
}
