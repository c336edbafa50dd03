package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/network"
)

// The files of an instance's run directory that containers see in /etc.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// writeEtc writes an instance's /etc/hostname, /etc/resolv.conf and, as far as
// it can be known before the network, /etc/hosts.
func (e *Engine) writeEtc(i *instance) error {
	spec := &i.rec.Spec
	name := spec.Hostname
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		name = host
	}
	hosts := hostsText("", nil)
	if spec.Namespaces.Network == ModeHost {
		if text, err := os.ReadFile("/etc/hosts"); err == nil {
			hosts = string(text)
		}
	}
	return errors.Join(
		writeNew(filepath.Join(i.run, hostnameFile), name+"\n"),
		writeNew(filepath.Join(i.run, hostsFile), hosts),
		writeNew(filepath.Join(i.run, resolvFile), resolvText(spec)),
		giveEtc(i),
	)
}

// giveEtc gives the files to the root of the instance's user namespace.
func giveEtc(i *instance) error {
	u := i.rec.Spec.Namespaces.User
	if u == nil {
		return nil
	}
	var errs error
	for _, name := range []string{hostnameFile, hostsFile, resolvFile} {
		errs = errors.Join(errs, os.Chown(filepath.Join(i.run, name), int(u.UIDs.Host), int(u.GIDs.Host)))
	}
	return errs
}

// writeHosts adds an instance's own addresses, in place: a container may have
// the file mounted.
func writeHosts(i *instance, r network.Result) error {
	var addresses []string
	for _, p := range r.Addresses {
		addresses = append(addresses, p.Addr().String())
	}
	name := i.rec.Spec.Hostname
	if name == "" || len(addresses) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(i.run, hostsFile), []byte(hostsText(name, addresses)), 0o644) //nolint:gosec // for every user of the container
}

func hostsText(name string, addresses []string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	for _, a := range addresses {
		fmt.Fprintf(&b, "%s\t%s\n", a, name)
	}
	return b.String()
}

func resolvText(spec *InstanceSpec) string {
	if spec.DNS == nil {
		return hostResolv(spec.Namespaces.Network == ModeHost)
	}
	var b strings.Builder
	if len(spec.DNS.Searches) > 0 {
		b.WriteString("search " + strings.Join(spec.DNS.Searches, " ") + "\n")
	}
	for _, s := range spec.DNS.Servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(spec.DNS.Options) > 0 {
		b.WriteString("options " + strings.Join(spec.DNS.Options, " ") + "\n")
	}
	return b.String()
}

// hostResolv is the machine's resolv.conf. A resolver on the machine's own
// loopback is out of reach from another network namespace: then it is the file
// that says whom that resolver asks.
func hostResolv(hostNetwork bool) string {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return ""
	}
	if !hostNetwork && strings.Contains(string(text), "nameserver 127.0.0.53") {
		if upstream, err := os.ReadFile("/run/systemd/resolve/resolv.conf"); err == nil {
			text = upstream
		}
	}
	return string(text)
}

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
